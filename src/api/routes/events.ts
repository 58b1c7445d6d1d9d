import { openBody } from '../../events/sealed-body.ts'
import type { IndexedMessage } from '../../projections/message-index.ts'
import { listWebhooks } from '../../projections/webhooks.ts'
import { readMessageCursor, readWebhookCursor, writeMessageCursor, writeWebhookCursor } from '../cursors.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid } from '../errors.ts'
import { readMessageBody } from '../message-body.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { createRoutedMessages, deliveryKeyOf } from '../routed-messages.ts'
import { cursorPagination, defaultLimit, envelope, listOf } from '../schemas/common.ts'
import { delivery, listQuery } from '../schemas/delivery.ts'
import { countedDeliveries, event, listEventsQuery, listedEvent, replayEvent } from '../schemas/event.ts'
import { lagHeaders } from '../schemas/headers.ts'
import { type Replayable, replays } from '../start-replays.ts'
import { range } from '../time-range.ts'

/** What producers read of the events that they have sent. */
export function createEventRoutes(deps: ApiDependencies): Route[] {
  const { deliveryLog, messages, keyring } = deps
  const views = createDeliveryViews(deps)
  const routed = createRoutedMessages(deps)
  const replayAll = replays(deps)
  const tag = 'Events'
  const credentials = 'bearer'
  const scope = 'read:events'

  const bodyOf = async (message: IndexedMessage) => {
    const [sealed] = await deliveryLog.bodies([message])
    if (sealed === undefined || sealed === null) return null
    const vault = await keyring.vault(message.tenant)
    return readMessageBody(openBody(vault, message.tenant, message.message, sealed))
  }
  const common = (message: IndexedMessage) => ({
    id: message.message,
    event: message.event,
    status: message.webhooks.length === 0 ? 'unmatched' : 'routed',
    accepted_at: message.accepted_at,
    expires_at: views.expiresAt(message.accepted_at),
  })

  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/events',
      operationId: 'listEvents',
      summary: 'List events, newest first',
      tag,
      credentials,
      scope,
      query: listEventsQuery,
      errors: ['invalid_cursor'],
      responses: {
        200: {
          description:
            'A page of events. With filters it may hold fewer than there are, even none: the list ends when next_cursor is null.',
          schema: envelope(listOf(listedEvent), cursorPagination),
        },
      },
      async handler({ query, caller }) {
        const { limit = defaultLimit, cursor, event: name, status } = query
        const found = await messages.list({
          tenant: caller.tenant,
          ...range(query),
          ...(name === undefined ? {} : { event: name }),
          ...(status === undefined ? {} : { matched: status === 'routed' }),
          ...(cursor === undefined ? {} : { after: readMessageCursor(cursor) }),
          limit,
        })
        const counted = found.messages.filter(({ webhooks }) => webhooks.length <= countedDeliveries)
        const counts = new Map((await routed.counts(counted)).map((each, i) => [counted[i], each]))
        const shown = found.messages.map((message) => ({ ...common(message), deliveries: counts.get(message) ?? null }))
        return envelopeResult(200, shown, {}, { limit, next_cursor: found.next === null ? null : writeMessageCursor(found.next) })
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/events/:id',
      operationId: 'getEvent',
      summary: 'Read an event, and what became of it',
      tag,
      credentials,
      scope,
      responses: { 200: { description: 'The event, once it is routed (which is waited for).', schema: envelope(event) } },
      async handler({ params, caller, gone }) {
        const message = await routed.find(caller.tenant, params.id, gone)
        const [body, [deliveries], rejections] = await Promise.all([
          bodyOf(message),
          routed.counts([message]),
          messages.rejections(caller.tenant, message.message),
        ])
        const shown = {
          ...common(message),
          event_time: body?.event_time ?? null,
          source: body?.source ?? null,
          deliveries,
          has_rejections: rejections.length > 0,
          rejections: rejections.map(({ accepted_at }) => ({ accepted_at, reason: 'content_differs' })),
        }
        // The payload as it was sent: parsed and written again it would be another one.
        const data = `${JSON.stringify(shown).slice(0, -1)},"payload":${body?.payload ?? 'null'}}`
        return {
          status: 200,
          text: { type: 'application/json; charset=utf-8', content: `{"data":${data},"error":null,"pagination":null}` },
        }
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/events/:id/deliveries',
      operationId: 'listEventDeliveries',
      summary: "List an event's deliveries, the newest webhook's first",
      tag,
      credentials,
      scope,
      query: listQuery,
      errors: ['invalid_cursor'],
      responses: { 200: { description: 'A page of deliveries.', schema: envelope(listOf(delivery), cursorPagination) } },
      async handler({ params, query, caller, gone }) {
        const { limit = defaultLimit } = query
        const after = query.cursor === undefined ? null : readWebhookCursor(query.cursor)
        const message = await routed.find(caller.tenant, params.id, gone)
        const webhooks = [...message.webhooks].sort().reverse()
        const rest = after === null ? webhooks : webhooks.filter((webhook) => webhook < after)
        const page = rest.slice(0, limit)
        const shown = await views.ofMessage(
          message,
          page.map((webhook) => deliveryKeyOf(message, webhook)),
        )
        const last = page.at(-1)
        return envelopeResult(
          200,
          shown,
          {},
          { limit, next_cursor: rest.length > limit && last !== undefined ? writeWebhookCursor(last) : null },
        )
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/events/:id/replay',
      operationId: 'replayEvent',
      idempotent: true,
      summary: 'Deliver an event again: the same event id, the URLs and secrets of today',
      tag,
      credentials,
      scope: 'write:events',
      body: replayEvent,
      bodyOptional: true,
      errors: ['payload_expired', 'webhook_deleted', 'webhook_inactive'],
      responses: {
        202: {
          description:
            'The deliveries that begin anew. Webhooks that are deleted or not active now are left out, and so is what is in the history not yet, since it is on its way.',
          schema: envelope(listOf(delivery)),
          headers: lagHeaders,
        },
      },
      async handler(request) {
        const { params, body, caller, gone } = request
        const { tenant } = caller
        const { webhook_id: only } = body
        const message = await routed.find(tenant, params.id, gone)
        const wanted = only === undefined ? message.webhooks : message.webhooks.filter((webhook) => webhook === only)
        if (only !== undefined && wanted.length === 0)
          throw invalid([{ path: 'webhook_id', message: 'must be a webhook that the event was routed to' }])
        if (wanted.length === 0) return envelopeResult(202, [])
        const [{ rows: webhooks }, [sealedBody], states] = await Promise.all([
          listWebhooks(deps, { tenant, ids: wanted, limit: wanted.length, offset: 0 }),
          deliveryLog.bodies([message]),
          routed.states(wanted.map((webhook) => deliveryKeyOf(message, webhook))),
        ])
        if (webhooks.length === 0) throw new ApiError('webhook_deleted', 'The webhook has been deleted: there is nowhere to deliver to.')
        if (!webhooks.some((webhook) => webhook.is_active))
          throw new ApiError('webhook_inactive', 'No webhook that it was owed to is active: set is_active to true first.')
        if (sealedBody === undefined || sealedBody === null)
          throw new ApiError('payload_expired', 'The payload is no longer kept: the event cannot be delivered again.')
        const revisions = new Map(webhooks.filter(({ is_active }) => is_active).map(({ id, revision }) => [id, revision]))
        const again = states.flatMap((state): Replayable[] => {
          const webhookRevision = state === null ? undefined : revisions.get(state.webhook)
          return state === null || webhookRevision === undefined ? [] : [{ delivery: state, webhookRevision }]
        })
        const { begun, headers } = await replayAll(again, request)
        return envelopeResult(202, await views.views(tenant, begun), headers)
      },
    }),
  ]
}
