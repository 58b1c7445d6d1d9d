import { webhookDecider } from '../../commands/webhook.ts'
import { defaultsOf } from '../../events/fields.ts'
import type { WebhookId } from '../../events/ids.ts'
import { webhookStream } from '../../events/streams.ts'
import { webhookFields } from '../../events/webhook.ts'
import { projectionNames } from '../../projections/names.ts'
import { listWebhooksAsOf, webhookVersions } from '../../projections/webhook-versions.ts'
import { countWebhooks, findWebhook, listWebhooks } from '../../projections/webhooks.ts'
import { parseAsOf, requireAuditScope, stateAt } from '../as-of.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound } from '../errors.ts'
import { etagHeader } from '../etag.ts'
import { createExecuteCommand, newTurnId } from '../execute-command.ts'
import type { Identity } from '../identity.ts'
import { parseWebhookId } from '../ids.ts'
import { awaitHead } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent, noStore } from '../route-results.ts'
import { defaultLimit, envelope, listOf, offsetPagination } from '../schemas/common.ts'
import { changeHeaders, creationHeaders, ifMatch, lagHeaders, pastReadHeaders, stateHeaders } from '../schemas/headers.ts'
import { atMomentQuery } from '../schemas/history.ts'
import { changeWebhook, createdWebhook, createWebhook, listWebhooksQuery, webhook } from '../schemas/webhook.ts'
import { createWebhookChecks } from '../webhook-checks.ts'
import { newWebhookSecret, ownerOf, webhookRowView as rowView, webhookView as view } from '../webhook-views.ts'
import { wellFormed } from '../well-formed.ts'

export function createWebhookRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const executeCommand = createExecuteCommand(deps)
  const { settings } = deps
  const check = createWebhookChecks(deps)
  const readModel = projectionNames.webhooks
  const tag = 'Webhooks'
  const credentials = 'bearer-or-key'

  /** By the read model: who creates many at once may come some few above it. */
  const room = async ({ caller, limits }: Identity, id: WebhookId) => {
    const most = limits.webhooks ?? settings.maxWebhooksPerTenant
    if ((await countWebhooks(deps.pool, caller.tenant, id)) >= most)
      throw new ApiError('webhook_limit_reached', `This account has ${most} webhooks, which is its limit: delete one first.`)
  }
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/webhooks/:id',
      operationId: 'getWebhook',
      summary: 'Read a webhook',
      tag,
      credentials,
      scope: 'read:webhooks',
      query: atMomentQuery,
      errors: ['event_not_readable'],
      responses: { 200: { description: 'The webhook, as it is or as it was.', schema: webhook, headers: stateHeaders } },
      async handler({ params, query, caller, limits }) {
        const id = parseWebhookId(params.id)
        if (query.as_of !== undefined || query.revision !== undefined) {
          const { state, revision } = stateAt(webhookDecider, await deps.streams.read(webhookStream(id)), caller, query)
          return { status: 200, headers: etagHeader(revision), body: view(state, null) }
        }
        const row = await findWebhook(deps, ownerOf({ caller, limits }), id)
        if (row === null) throw notFound()
        return { status: 200, headers: etagHeader(row.revision), body: rowView(row) }
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/webhooks',
      operationId: 'listWebhooks',
      summary: 'List webhooks, newest first',
      tag,
      credentials,
      scope: 'read:webhooks',
      query: listWebhooksQuery,
      responses: {
        200: { description: 'A page of webhooks.', schema: envelope(listOf(webhook), offsetPagination), headers: pastReadHeaders },
      },
      async handler(request) {
        const { ids, events, is_active, key_id: wanted, as_of: asOf, limit = defaultLimit, offset = 0 } = request.query
        const { key_id = wanted, tenant } = ownerOf(request)
        if (wanted !== undefined && wanted !== key_id) return envelopeResult(200, [], {}, { limit, offset, total: 0 })
        const filter = {
          tenant,
          ...(key_id === undefined ? {} : { key_id }),
          ...(ids === undefined ? {} : { ids }),
          ...(events === undefined ? {} : { events }),
          ...(is_active === undefined ? {} : { is_active }),
          limit,
          offset,
        }
        if (asOf !== undefined) {
          requireAuditScope(request.caller)
          const headers = await awaitHead(deps, webhookVersions)
          const past = await listWebhooksAsOf(deps, { ...filter, asOf: parseAsOf(asOf) })
          return envelopeResult(
            200,
            past.rows.map((row) => view(row, null)),
            headers,
            { limit, offset, total: past.total },
          )
        }
        const { rows, total } = await listWebhooks(deps, filter)
        return envelopeResult(200, rows.map(rowView), {}, { limit, offset, total })
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/webhooks',
      operationId: 'createWebhook',
      idempotent: true,
      summary: 'Subscribe a URL to events',
      tag,
      credentials,
      scope: 'write:webhooks',
      body: createWebhook,
      check,
      errors: ['webhook_limit_reached'],
      responses: { 201: { description: 'Created. Only this answer holds the secret.', schema: createdWebhook, headers: creationHeaders } },
      async handler(request) {
        const { caller, body } = request
        const chosen = await request.plan(() => ({ id: parseWebhookId(deps.newUlid()), secret: newWebhookSecret(), turnId: newTurnId() }))
        const { id, turnId } = chosen
        await room(request, id)
        const { state, headers } = await executeCommand(
          webhookDecider,
          webhookStream(id),
          {
            ...defaultsOf(webhookFields),
            ...{ secret: chosen.secret, ...wellFormed(body) },
            ...{ type: 'CreateWebhook', id, tenant: caller.tenant, key_id: caller.key_id },
          },
          request,
          { readModel, create: true, turnId },
        )
        return {
          status: 201,
          headers: { ...headers, ...noStore, location: `/v1/webhooks/${id}` },
          body: { ...view(state, null), secret: state.secret },
        }
      },
    }),
    guardedRoute({
      method: 'PATCH',
      path: '/v1/webhooks/:id',
      operationId: 'changeWebhook',
      summary: 'Change a webhook',
      tag,
      credentials,
      scope: 'write:webhooks',
      body: changeWebhook,
      check,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: { 200: { description: 'The webhook as it is now.', schema: webhook, headers: changeHeaders } },
      async handler(request) {
        const { body, params } = request
        const id = parseWebhookId(params.id)
        const { state, headers } = await executeCommand(
          webhookDecider,
          webhookStream(id),
          { type: 'ChangeWebhook', ...wellFormed(body) },
          request,
          { readModel },
        )
        const row = await findWebhook(deps, ownerOf(request), id)
        return { status: 200, headers, body: view(state, row?.failing_since ?? null) }
      },
    }),
    guardedRoute({
      method: 'DELETE',
      path: '/v1/webhooks/:id',
      operationId: 'deleteWebhook',
      summary: 'Delete a webhook; what is still owed to it is discarded',
      tag,
      credentials,
      scope: 'write:webhooks',
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: { 204: { description: 'Deleted.', headers: lagHeaders } },
      async handler(request) {
        const id = parseWebhookId(request.params.id)
        const { headers } = await executeCommand(webhookDecider, webhookStream(id), { type: 'DeleteWebhook' }, request, { readModel })
        const { etag: _, ...rest } = headers
        return noContent(rest)
      },
    }),
  ]
}
