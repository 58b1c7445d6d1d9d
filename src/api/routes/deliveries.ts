import type { DeliveryId, TenantId, WebhookId } from '../../events/ids.ts'
import type { Delivery, HistoryCursor, ListedDelivery } from '../../ports/delivery-log.ts'
import { findWebhook, listWebhooks } from '../../projections/webhooks.ts'
import { readCursor, writeCursor } from '../cursors.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound, webhookInactive } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { parseDeliveryId, parseWebhookId } from '../ids.ts'
import { guardedRoute, type Route, type RouteResult } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { cursorPagination, defaultLimit, envelope, envelopeExample, idOf, listOf, pageExample, uuid } from '../schemas/common.ts'
import {
  type CursorQuery,
  deadLetterExample,
  deliveredExample,
  delivery,
  listDeadLettersQuery,
  listHistoryQuery,
  replayedExample,
} from '../schemas/delivery.ts'
import { lagHeaders } from '../schemas/headers.ts'
import { createStartReplays } from '../start-replays.ts'
import { parseTimeRange } from '../time-range.ts'
import { ownerOf } from '../webhook-views.ts'

/** The most webhooks of one key that are read for a query. The default limit of a tenant is lower. */
const maxWebhooksOfKey = 10_000
const tag = 'Deliveries'
const credentials = 'bearer-or-key'

export const createDeliveryRoutes = (deps: ApiDependencies): Route[] => [
  listWebhookDeliveriesRoute(deps),
  getDeliveryRoute(deps),
  listDeadLettersRoute(deps),
  replayDeliveryRoute(deps),
]

function listWebhookDeliveriesRoute(deps: ApiDependencies): Route {
  const { pageOf } = createPages(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/webhooks/:id/deliveries',
    operationId: 'listWebhookDeliveries',
    summary: 'List the deliveries of a webhook with their attempts, newest first',
    description:
      'Returns the history of one webhook: each event that was routed to it, with every attempt and what the receiver responded. The deliveries of the events that were accepted last come first.',
    params: { id: idOf('webhook') },
    tag,
    credentials,
    scope: 'read:webhooks',
    query: listHistoryQuery,
    errors: ['invalid_cursor', 'history_too_wide', 'delivery_log_unavailable'],
    responses: {
      200: {
        description: 'A page of deliveries.',
        schema: envelope(listOf(delivery), cursorPagination),
        example: pageExample([deliveredExample]),
      },
    },
    async handler(request) {
      const { query, caller } = request
      const id = parseWebhookId(request.params.id)
      const filter = { ...parseTimeRange(query), ...(query.status === undefined ? {} : { status: query.status }) }
      const page = pageOf(
        caller.tenant,
        query,
        (bounds) => deps.deliveryLog.history(id, { ...bounds, ...filter }),
        (row) => row.accepted_at,
      )
      // Both reads run at the same time. If the webhook is not the caller's, an error of the page must not be an unhandled rejection.
      page.catch(() => undefined)
      if ((await findWebhook(deps, ownerOf(request), id)) === null) throw notFound()
      return page
    },
  })
}

function getDeliveryRoute(deps: ApiDependencies): Route {
  const { viewsOf } = createDeliveryViews(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/deliveries/:id',
    operationId: 'getDelivery',
    summary: 'Read a delivery and its attempts',
    description:
      'Returns one delivery with every attempt: its time, the status and the start of the body of the response, or why there was none.',
    params: { id: { ...uuid, description: 'The id of the delivery.' } },
    tag,
    credentials,
    scope: 'read:webhooks',
    errors: ['delivery_log_unavailable'],
    responses: { 200: { description: 'The delivery.', schema: envelope(delivery) } },
    async handler(request) {
      const row = await findDelivery(deps, request, parseDeliveryId(request.params.id))
      const [view] = await viewsOf(request.caller.tenant, [row])
      return envelopeResult(200, view)
    },
  })
}

function listDeadLettersRoute(deps: ApiDependencies): Route {
  const { pageOf } = createPages(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/dead-letters',
    operationId: 'listDeadLetters',
    summary: 'List deliveries that ended in failure; the latest failure comes first',
    description:
      'Returns the deliveries that are given up: the receiver refused them for good, the attempts are used up, or the event has expired. Each one can be replayed.',
    tag,
    credentials,
    scope: 'read:webhooks',
    query: listDeadLettersQuery,
    errors: ['invalid_cursor', 'history_too_wide', 'delivery_log_unavailable'],
    responses: {
      200: {
        description: 'A page of dead letters.',
        schema: envelope(listOf(delivery), cursorPagination),
        example: pageExample([deadLetterExample]),
      },
    },
    async handler(request) {
      const { query, caller } = request
      const webhooks = await visibleWebhooks(deps, request, query.webhook)
      return pageOf(
        caller.tenant,
        query,
        async (bounds) =>
          webhooks?.length === 0
            ? []
            : deps.deliveryLog.deadLetters({ ...bounds, ...parseTimeRange(query), ...(webhooks === undefined ? {} : { webhooks }) }),
        (row) => row.time,
      )
    },
  })
}

function replayDeliveryRoute(deps: ApiDependencies): Route {
  const { viewsOf } = createDeliveryViews(deps)
  const startReplays = createStartReplays(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/deliveries/:id/replay',
    operationId: 'replayDelivery',
    idempotent: true,
    summary: 'Deliver again, with the same event id, to the present URL, signed with the present secret',
    description:
      'Starts a new chain of attempts for one delivery, whatever its status is. The receiver gets the same event id again, so it can recognise an event that it already has.',
    params: { id: { ...uuid, description: 'The id of the delivery.' } },
    tag,
    credentials,
    scope: 'write:webhooks',
    errors: ['payload_expired', 'webhook_deleted', 'webhook_inactive', 'delivery_log_unavailable'],
    responses: {
      202: {
        description: 'The delivery, whose new chain of attempts starts now.',
        schema: envelope(delivery),
        example: envelopeExample(replayedExample),
        headers: lagHeaders,
      },
    },
    async handler(request) {
      const row = await findDelivery(deps, request, parseDeliveryId(request.params.id))
      const [webhook, [sealedBody]] = await Promise.all([findWebhook(deps, ownerOf(request), row.webhook), deps.deliveryLog.bodies([row])])
      if (webhook === null)
        throw new ApiError('webhook_deleted', 'The webhook has been deleted: there is no endpoint to deliver the event to.')
      if (!webhook.is_active) throw webhookInactive()
      if (sealedBody === undefined || sealedBody === null)
        throw new ApiError('payload_expired', 'The payload is no longer kept: the event cannot be delivered again.')
      const { replayed, headers } = await startReplays([{ delivery: row, webhookRevision: webhook.revision }], request)
      const [view] = await viewsOf(request.caller.tenant, replayed)
      return envelopeResult(202, view, headers)
    },
  })
}

interface PageBounds {
  readonly tenant: TenantId
  readonly limit: number
  readonly after?: HistoryCursor
}
function createPages(deps: ApiDependencies) {
  const { viewsOf } = createDeliveryViews(deps)
  return {
    /**
     * Makes a page. One row more than the page shows is read, to know whether there is a next page.
     * @param timeOf the time by which the rows are ordered
     */
    async pageOf(
      tenant: TenantId,
      { cursor, limit = defaultLimit }: CursorQuery,
      readRows: (bounds: PageBounds) => Promise<ListedDelivery[]>,
      timeOf: (row: Delivery) => string,
    ): Promise<RouteResult> {
      const after = cursor === undefined ? {} : { after: readCursor(cursor) }
      const rows = await readRows({ tenant, limit: limit + 1, ...after })
      const pageRows = rows.slice(0, limit)
      const lastRow = pageRows.at(-1)
      const hasNext = rows.length > limit && lastRow !== undefined
      const next_cursor = hasNext ? writeCursor({ at: timeOf(lastRow), delivery: lastRow.delivery }) : null
      return envelopeResult(200, await viewsOf(tenant, pageRows), {}, { limit, next_cursor })
    },
  }
}

/** Returns a delivery of the caller's tenant. A key sees only deliveries to webhooks that it created. Throws not_found. */
async function findDelivery(deps: ApiDependencies, { caller }: Identity, id: DeliveryId): Promise<Delivery> {
  const { tenant, key_id } = caller
  const row = await deps.deliveryLog.find(tenant, id)
  if (row === null) throw notFound()
  if (key_id !== null && (await findWebhook(deps, { tenant, key_id }, row.webhook)) === null) throw notFound()
  return row
}

/** Returns the webhooks whose dead letters the caller may see; undefined stands for all webhooks of the tenant. */
async function visibleWebhooks(
  deps: ApiDependencies,
  { caller }: Identity,
  requested: WebhookId | undefined,
): Promise<WebhookId[] | undefined> {
  if (caller.key_id === null) return requested === undefined ? undefined : [requested]
  const filter = { tenant: caller.tenant, key_id: caller.key_id, limit: maxWebhooksOfKey, offset: 0 }
  const { rows } = await listWebhooks(deps, requested === undefined ? filter : { ...filter, ids: [requested] })
  return rows.map((row) => row.id)
}
