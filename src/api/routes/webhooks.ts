import { webhookDecider } from '../../commands/webhook.ts'
import { defaultsOf } from '../../events/fields.ts'
import type { WebhookId } from '../../events/ids.ts'
import { webhookStream } from '../../events/streams.ts'
import { webhookFields } from '../../events/webhook.ts'
import { projectionNames } from '../../projections/names.ts'
import { listWebhooksAsOf, webhookVersions } from '../../projections/webhook-versions.ts'
import { countWebhooks, findWebhook, listWebhooks } from '../../projections/webhooks.ts'
import { listIndexHeader, namesMoment, parseAsOf, requireWholeStreams, stateAt } from '../as-of.ts'
import { normalUrl } from '../callback-url.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound } from '../errors.ts'
import { etagHeader, withoutEtag } from '../etag.ts'
import { createExecuteCommand, newCommandId } from '../execute-command.ts'
import type { Identity } from '../identity.ts'
import { parseWebhookId } from '../ids.ts'
import { awaitHead } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent, noStore } from '../route-results.ts'
import { defaultLimit, envelope, idOf, listOf, offsetPagination } from '../schemas/common.ts'
import { changeHeaders, creationHeaders, ifMatch, lagHeaders, momentHeaders, pastListHeaders } from '../schemas/headers.ts'
import { atMomentQuery } from '../schemas/history.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { changeWebhook, createdWebhook, createWebhook, listWebhooksQuery, webhook } from '../schemas/webhook.ts'
import { createWebhookChecks } from '../webhook-checks.ts'
import { newWebhookSecret, ownerOf, webhookRowView, webhookView } from '../webhook-views.ts'

const tag = 'Webhooks'
const credentials = 'bearer-or-key'
const readModel = projectionNames.webhooks

export const createWebhookRoutes = (deps: ApiDependencies & { newUlid(): string }): Route[] => [
  getWebhookRoute(deps),
  listWebhooksRoute(deps),
  createWebhookRoute(deps),
  changeWebhookRoute(deps),
  deleteWebhookRoute(deps),
]

const getWebhookRoute = (deps: ApiDependencies): Route =>
  guardedRoute({
    method: 'GET',
    path: '/v1/webhooks/:id',
    operationId: 'getWebhook',
    summary: 'Read a webhook',
    description: 'Returns a webhook as it is now, or as it was at a time or a revision. Its secret is never shown.',
    params: { id: idOf('webhook') },
    tag,
    credentials,
    scope: 'read:webhooks',
    query: atMomentQuery,
    errors: ['event_not_readable'],
    responses: { 200: { description: 'The present webhook, or its requested past state.', schema: webhook, headers: momentHeaders } },
    async handler(request) {
      const { params, query, caller } = request
      const id = parseWebhookId(params.id)
      if (namesMoment(query)) {
        const { state, revision, headers } = await stateAt(deps, webhookDecider, webhookStream(id), caller.tenant, query)
        return { status: 200, headers: { ...etagHeader(revision), ...headers }, body: webhookView(state, null) }
      }
      const row = await findWebhook(deps, ownerOf(request), id)
      if (row === null) throw notFound()
      return { status: 200, headers: etagHeader(row.revision), body: webhookRowView(row) }
    },
  })

const listWebhooksRoute = (deps: ApiDependencies): Route =>
  guardedRoute({
    method: 'GET',
    path: '/v1/webhooks',
    operationId: 'listWebhooks',
    summary: 'List webhooks, newest first',
    description: 'Returns the webhooks of the account, or of the API key that asks, as they are now or as they were at a time.',
    tag,
    credentials,
    scope: 'read:webhooks',
    query: listWebhooksQuery,
    errors: ['event_not_readable'],
    responses: {
      200: { description: 'A page of webhooks.', schema: envelope(listOf(webhook), offsetPagination), headers: pastListHeaders },
    },
    async handler(request) {
      const { ids, events, is_active, key_id: requestedKey, as_of: asOf, limit = defaultLimit, offset = 0 } = request.query
      const { key_id = requestedKey, tenant } = ownerOf(request)
      // A key gets no webhooks if it asks for those of another key.
      if (requestedKey !== undefined && requestedKey !== key_id) return envelopeResult(200, [], {}, { limit, offset, total: 0 })
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
        const headers = await awaitHead(deps, webhookVersions)
        const time = parseAsOf(asOf, deps.now())
        const past = await listWebhooksAsOf(deps, { ...filter, asOf: time })
        const index = await listIndexHeader(deps, time, tenant)
        await requireWholeStreams(
          deps,
          past.rows.map(({ id }) => webhookStream(id)),
        )
        const views = past.rows.map((row) => webhookView(row, null))
        return envelopeResult(200, views, { ...headers, ...index }, { limit, offset, total: past.total })
      }
      const { rows, total } = await listWebhooks(deps, filter)
      return envelopeResult(200, rows.map(webhookRowView), {}, { limit, offset, total })
    },
  })

function createWebhookRoute(deps: ApiDependencies & { newUlid(): string }): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/webhooks',
    operationId: 'createWebhook',
    idempotent: true,
    summary: 'Create a webhook: a callback URL and the events that are delivered to it',
    description:
      'Subscribes a URL to events. Every request to it is signed with the secret of the webhook, which is generated unless the body has one. Every event that is accepted after this response is matched with the webhook.',
    tag,
    credentials,
    scope: 'write:webhooks',
    body: createWebhook,
    example: {
      callback_url: 'https://consumer.example.com/webhook-receiver',
      event: 'order.*',
      description: 'Sends invoices to the bookkeeping.',
    },
    check: createWebhookChecks(deps),
    errors: ['webhook_limit_reached'],
    responses: {
      201: {
        description: 'The webhook. Only this response contains the secret.',
        schema: createdWebhook,
        example: exampleOf(createdWebhook, { event: 'order.*', retry_delays: null }),
        headers: creationHeaders,
      },
    },
    async handler(request) {
      const { caller, body } = request
      const { id, secret, commandId } = await request.plan(() => ({
        id: parseWebhookId(deps.newUlid()),
        secret: newWebhookSecret(),
        commandId: newCommandId(),
      }))
      await checkWebhookLimit(deps, request, id)
      const { state, headers } = await executeCommand(
        webhookDecider,
        webhookStream(id),
        {
          ...defaultsOf(webhookFields),
          ...{ secret, ...body, callback_url: normalUrl(body.callback_url) },
          ...{ type: 'CreateWebhook', id, tenant: caller.tenant, key_id: caller.key_id },
        },
        request,
        { readModel, create: true, commandId },
      )
      return {
        status: 201,
        headers: { ...headers, ...noStore, location: `/v1/webhooks/${id}` },
        body: { ...webhookView(state, null), secret: state.secret },
      }
    },
  })
}

/**
 * Throws webhook_limit_reached when the tenant has as many other webhooks as its limit allows. The read model may be behind, so
 * concurrent creations can exceed the limit by a few.
 */
async function checkWebhookLimit({ pool, settings }: ApiDependencies, { caller, limits }: Identity, id: WebhookId): Promise<void> {
  const limit = limits.webhooks ?? settings.maxWebhooksPerTenant
  if ((await countWebhooks(pool, caller.tenant, id)) >= limit)
    throw new ApiError('webhook_limit_reached', `This account has ${limit} webhooks, which is its limit: delete one first.`)
}

function changeWebhookRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'PATCH',
    path: '/v1/webhooks/:id',
    operationId: 'changeWebhook',
    summary: 'Change a webhook',
    description:
      'Changes the fields that the body has, and keeps all others. Attempts that are still to come use the new URL. An inactive webhook becomes active again with `is_active: true`.',
    params: { id: idOf('webhook') },
    tag,
    credentials,
    scope: 'write:webhooks',
    body: changeWebhook,
    example: { event: 'order.created', is_active: false },
    check: createWebhookChecks(deps),
    requestHeaders: ifMatch,
    errors: ['precondition_failed', 'conflict'],
    responses: {
      200: {
        description: 'The changed webhook.',
        schema: webhook,
        example: exampleOf(webhook, { is_active: false, deactivation_reason: 'requested' }),
        headers: changeHeaders,
      },
    },
    async handler(request) {
      const id = parseWebhookId(request.params.id)
      const { callback_url, ...changes } = request.body
      const url = callback_url === undefined ? {} : { callback_url: normalUrl(callback_url) }
      const command = { type: 'ChangeWebhook', ...changes, ...url } as const
      const { state, headers } = await executeCommand(webhookDecider, webhookStream(id), command, request, { readModel })
      const row = await findWebhook(deps, ownerOf(request), id)
      return { status: 200, headers, body: webhookView(state, row?.failing_since ?? null) }
    },
  })
}

function deleteWebhookRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'DELETE',
    path: '/v1/webhooks/:id',
    operationId: 'deleteWebhook',
    summary: 'Delete a webhook; its pending deliveries are discarded',
    description: 'Deletes a webhook for good. Its history stays readable. To pause a webhook, set `is_active` to false instead.',
    params: { id: idOf('webhook') },
    tag,
    credentials,
    scope: 'write:webhooks',
    requestHeaders: ifMatch,
    errors: ['precondition_failed', 'conflict'],
    responses: { 204: { description: 'The webhook is deleted.', headers: lagHeaders } },
    async handler(request) {
      const stream = webhookStream(parseWebhookId(request.params.id))
      const { headers } = await executeCommand(webhookDecider, stream, { type: 'DeleteWebhook' }, request, { readModel })
      return noContent(withoutEtag(headers))
    },
  })
}
