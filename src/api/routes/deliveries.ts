import type { TenantId } from '../../events/ids.ts'
import { byText, type Delivery, type HistoryCursor, type ListedDelivery, type UndeliveredStatus } from '../../ports/delivery-log.ts'
import { findWebhook } from '../../projections/webhooks.ts'
import { parseAsOf } from '../as-of.ts'
import { deliveriesAt } from '../delivery-as-of.ts'
import { createDeliveryPages, deliveryPageParts, resultFilterOf, visibleWebhooks } from '../delivery-pages.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid, notFound, notRetained, webhookInactive } from '../errors.ts'
import { findDelivery } from '../find-delivery.ts'
import { parseDeliveryId, parseWebhookId } from '../ids.ts'
import { requireBody } from '../payload-state.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope, envelopeExample, idOf, uuid } from '../schemas/common.ts'
import { deliveredExample, delivery, listDeliveriesQuery, listHistoryQuery, replayedExample } from '../schemas/delivery.ts'
import { lagHeaders } from '../schemas/headers.ts'
import { asOfQuery } from '../schemas/history.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { createStartReplays } from '../start-replays.ts'
import { parseTimeRange } from '../time-range.ts'
import { ownerOf } from '../webhook-views.ts'

const tag = 'Deliveries'
const credentials = 'bearer-or-key'

export const createDeliveryRoutes = (deps: ApiDependencies): Route[] => [
  listWebhookDeliveriesRoute(deps),
  listDeliveriesRoute(deps),
  getDeliveryRoute(deps),
  replayDeliveryRoute(deps),
]

function listWebhookDeliveriesRoute(deps: ApiDependencies): Route {
  const { pageOf } = createDeliveryPages(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/webhooks/:id/deliveries',
    operationId: 'listWebhookDeliveries',
    summary: 'List the deliveries of a webhook with their attempts, newest first',
    description:
      'Returns the history of one webhook: each event that was routed to it, with every attempt and what the receiver responded. The deliveries of the events that were accepted last come first.',
    params: { id: idOf('webhook') },
    tag,
    query: listHistoryQuery,
    ...deliveryPageParts('A page of deliveries.', deliveredExample),
    async handler(request) {
      const { query, caller } = request
      const id = parseWebhookId(request.params.id)
      const filter = { ...parseTimeRange(query), ...resultFilterOf(query), ...(query.status === undefined ? {} : { status: query.status }) }
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

function listDeliveriesRoute(deps: ApiDependencies): Route {
  const { pageOf } = createDeliveryPages(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/deliveries',
    operationId: 'listDeliveries',
    summary: 'List the deliveries that have not arrived, of all webhooks, newest first',
    description:
      'Returns what is retried, failed or discarded, whatever its webhook is, and with the status `pending` what has not been tried yet. With `webhook`, it returns all deliveries of that webhook. A key sees the deliveries of its own webhooks.',
    tag,
    query: listDeliveriesQuery,
    ...deliveryPageParts('A page of deliveries.', exampleOf(delivery)),
    async handler(request) {
      const { query, caller } = request
      const { webhook, status } = query
      if (webhook === undefined && status === 'success')
        throw invalid([{ path: 'status', message: 'can be `success` only if `webhook` is given' }])
      const webhooks = await visibleWebhooks(deps, request, webhook)
      const filter = { ...parseTimeRange(query), ...resultFilterOf(query) }
      const readRows = async (bounds: { tenant: TenantId; limit: number; after?: HistoryCursor }): Promise<ListedDelivery[]> => {
        if (webhooks?.length === 0) return []
        if (webhook !== undefined)
          return deps.deliveryLog.history(webhook, { ...bounds, ...filter, ...(status === undefined ? {} : { status }) })
        const statuses = status === undefined ? troubled : undeliveredStatuses.filter((candidate) => candidate === status)
        const lists = await Promise.all(
          statuses.map((eachStatus) =>
            deps.deliveryLog.undelivered({ ...bounds, ...filter, status: eachStatus, ...(webhooks === undefined ? {} : { webhooks }) }),
          ),
        )
        // A delivery whose status changes between the queries can be in two lists.
        const byId = new Map(lists.flat().map((row) => [row.delivery, row]))
        return [...byId.values()].sort(newestFirst).slice(0, bounds.limit)
      }
      return pageOf(caller.tenant, query, readRows, (row) => row.accepted_at)
    },
  })
}
/** The statuses of deliveries for which at least one attempt has failed, or that were discarded. */
const troubled: readonly UndeliveredStatus[] = ['retrying', 'failed', 'discarded']
const undeliveredStatuses: readonly UndeliveredStatus[] = ['pending', ...troubled]
const newestFirst = (a: Delivery, b: Delivery): number => byText(b.accepted_at, a.accepted_at) || byText(b.delivery, a.delivery)

function getDeliveryRoute(deps: ApiDependencies): Route {
  const { viewsOf } = createDeliveryViews(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/deliveries/:id',
    operationId: 'getDelivery',
    summary: 'Read a delivery and its attempts',
    description:
      'Returns one delivery with every attempt: its time, the status and the start of the body of the response, or why there was none. With `as_of`, it returns the delivery with the attempts up to that time.',
    params: { id: { ...uuid, description: 'The id of the delivery.' } },
    tag,
    credentials,
    scope: 'read:webhooks',
    query: asOfQuery,
    errors: ['delivery_log_unavailable', 'store_unavailable'],
    responses: { 200: { description: 'The delivery.', schema: envelope(delivery) } },
    async handler(request) {
      const { as_of: asOf } = request.query
      const time = asOf === undefined ? undefined : parseAsOf(asOf, deps.now())
      const row = await findDelivery(deps, request, parseDeliveryId(request.params.id))
      if (time !== undefined) {
        if (row.accepted_at > time) throw notRetained(deps)
        const [past] = await deliveriesAt(deps, [row], time)
        const [view] = await viewsOf(request.caller.tenant, [{ ...row, ...past }], time)
        return envelopeResult(200, view)
      }
      const [view] = await viewsOf(request.caller.tenant, [row])
      return envelopeResult(200, view)
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
    errors: ['payload_expired', 'payload_erased', 'webhook_deleted', 'webhook_inactive', 'delivery_log_unavailable'],
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
      requireBody(sealedBody)
      const { replayed, headers } = await startReplays([{ delivery: row, webhookRevision: webhook.revision }], request)
      const [view] = await viewsOf(request.caller.tenant, replayed)
      return envelopeResult(202, view, headers)
    },
  })
}
