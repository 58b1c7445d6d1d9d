import type { DeliveryId, TenantId, WebhookId } from '../../events/ids.ts'
import type { Delivery, HistoryCursor, ListedDelivery } from '../../ports/delivery-log.ts'
import { findWebhook, listWebhooks } from '../../projections/webhooks.ts'
import { readCursor, writeCursor } from '../cursors.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound, webhookInactive } from '../errors.ts'
import { parseDeliveryId, parseWebhookId } from '../ids.ts'
import { guardedRoute, type Identity, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { cursorPagination, defaultLimit, envelope, listOf } from '../schemas/common.ts'
import { type CursorQuery, delivery, listDeadLettersQuery, listHistoryQuery } from '../schemas/delivery.ts'
import { lagHeaders } from '../schemas/headers.ts'
import { replays } from '../start-replays.ts'
import { range } from '../time-range.ts'
import { ownerOf } from '../webhook-views.ts'

/** The most webhooks of one key that are read for a query. No tenant's default limit is as high. */
const webhooksOfKey = 10_000

export function createDeliveryRoutes(deps: ApiDependencies): Route[] {
  const { deliveryLog } = deps
  const { views } = createDeliveryViews(deps)
  const replayAll = replays(deps)
  const tag = 'Deliveries'
  const credentials = 'bearer-or-key'

  /** Reads one row more than the page shows, which tells whether there is a next page. */
  const page = async (
    tenant: TenantId,
    { cursor, limit = defaultLimit }: CursorQuery,
    rowsAfter: (query: { tenant: TenantId; limit: number; after?: HistoryCursor }) => Promise<ListedDelivery[]>,
    at: (row: Delivery) => string,
  ) => {
    const after = cursor === undefined ? {} : { after: readCursor(cursor) }
    const rows = await rowsAfter({ tenant, limit: limit + 1, ...after })
    const shown = rows.slice(0, limit)
    const last = shown.at(-1)
    const next = rows.length > limit && last !== undefined ? writeCursor({ at: at(last), delivery: last.delivery }) : null
    return envelopeResult(200, await views(tenant, shown), {}, { limit, next_cursor: next })
  }
  /** A delivery of the tenant; for a key, of a webhook that it created. */
  const mine = async (identity: Identity, id: DeliveryId): Promise<Delivery> => {
    const { tenant, key_id } = identity.caller
    const found = await deliveryLog.find(tenant, id)
    if (found === null) throw notFound()
    if (key_id !== null && (await findWebhook(deps, { tenant, key_id }, found.webhook)) === null) throw notFound()
    return found
  }
  /** The webhooks whose dead letters the caller may see; undefined stands for all webhooks of the tenant. */
  const askedWebhooks = async ({ caller }: Identity, wanted: WebhookId | undefined): Promise<WebhookId[] | undefined> => {
    if (caller.key_id === null) return wanted === undefined ? undefined : [wanted]
    const filter = { tenant: caller.tenant, key_id: caller.key_id, limit: webhooksOfKey, offset: 0 }
    const { rows } = await listWebhooks(deps, wanted === undefined ? filter : { ...filter, ids: [wanted] })
    return rows.map((row) => row.id)
  }

  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/webhooks/:id/deliveries',
      operationId: 'listWebhookDeliveries',
      summary: "List a webhook's deliveries with their attempts, newest first",
      tag,
      credentials,
      scope: 'read:webhooks',
      query: listHistoryQuery,
      errors: ['invalid_cursor'],
      responses: { 200: { description: 'A page of deliveries.', schema: envelope(listOf(delivery), cursorPagination) } },
      async handler(request) {
        const { query, caller } = request
        const id = parseWebhookId(request.params.id)
        const filter = { ...range(query), ...(query.status === undefined ? {} : { status: query.status }) }
        const read = page(
          caller.tenant,
          query,
          (by) => deliveryLog.history(id, { ...by, ...filter }),
          (row) => row.accepted_at,
        )
        read.catch(() => undefined) // meanwhile; whose webhook it is not is told so first
        if ((await findWebhook(deps, ownerOf(request), id)) === null) throw notFound()
        return read
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/deliveries/:id',
      operationId: 'getDelivery',
      summary: 'Read a delivery and its attempts',
      tag,
      credentials,
      scope: 'read:webhooks',
      responses: { 200: { description: 'The delivery.', schema: envelope(delivery) } },
      async handler(request) {
        const found = await mine(request, parseDeliveryId(request.params.id))
        const [shown] = await views(request.caller.tenant, [found])
        return envelopeResult(200, shown)
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/dead-letters',
      operationId: 'listDeadLetters',
      summary: 'List deliveries that ended in failure, the latest first',
      tag,
      credentials,
      scope: 'read:webhooks',
      query: listDeadLettersQuery,
      errors: ['invalid_cursor'],
      responses: { 200: { description: 'A page of dead letters.', schema: envelope(listOf(delivery), cursorPagination) } },
      async handler(request) {
        const { query, caller } = request
        const webhooks = await askedWebhooks(request, query.webhook)
        return page(
          caller.tenant,
          query,
          async (by) =>
            webhooks?.length === 0
              ? []
              : deliveryLog.deadLetters({ ...by, ...range(query), ...(webhooks === undefined ? {} : { webhooks }) }),
          (row) => row.time,
        )
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/deliveries/:id/replay',
      operationId: 'replayDelivery',
      idempotent: true,
      summary: 'Deliver again: the same event id, the URL and secret of today',
      tag,
      credentials,
      scope: 'write:webhooks',
      errors: ['payload_expired', 'webhook_deleted', 'webhook_inactive'],
      responses: { 202: { description: 'A new chain of attempts begins now.', schema: envelope(delivery), headers: lagHeaders } },
      async handler(request) {
        const { caller } = request
        const found = await mine(request, parseDeliveryId(request.params.id))
        const [webhook, [sealedBody]] = await Promise.all([findWebhook(deps, ownerOf(request), found.webhook), deliveryLog.bodies([found])])
        if (webhook === null) throw new ApiError('webhook_deleted', 'The webhook has been deleted: there is nowhere to deliver to.')
        if (!webhook.is_active) throw webhookInactive()
        if (sealedBody === undefined || sealedBody === null)
          throw new ApiError('payload_expired', 'The payload is no longer kept: the event cannot be delivered again.')
        const { begun, headers } = await replayAll([{ delivery: found, webhookRevision: webhook.revision }], request)
        const [shown] = await views(caller.tenant, begun)
        return envelopeResult(202, shown, headers)
      },
    }),
  ]
}
