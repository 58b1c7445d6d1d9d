import type { WebhookId } from '../../events/ids.ts'
import { openBody } from '../../events/sealed-body.ts'
import { dayFamilies } from '../../events/streams.ts'
import type { IndexedMessage } from '../../projections/message-index.ts'
import { projectionNames } from '../../projections/names.ts'
import { listWebhooks } from '../../projections/webhooks.ts'
import { parseAsOf } from '../as-of.ts'
import { readMessageCursor, readWebhookCursor, writeMessageCursor, writeWebhookCursor } from '../cursors.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid, notRetained } from '../errors.ts'
import { readMessageBody } from '../message-body.ts'
import { absenceOf, requireBody } from '../payload-state.ts'
import { awaitHead } from '../projection-lag.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, envelopeTextResult } from '../route-results.ts'
import { createRoutedMessages, deliveryKeyOf } from '../routed-messages.ts'
import { cursorPagination, defaultLimit, envelope, envelopeExample, listOf, messageId } from '../schemas/common.ts'
import { delivery, listQuery, replayedExample } from '../schemas/delivery.ts'
import { countedDeliveries, event, listEventsQuery, listedEvent, replayEvent } from '../schemas/event.ts'
import { lagHeaders } from '../schemas/headers.ts'
import { asOfQuery } from '../schemas/history.ts'
import { createStartReplays, type Replayable } from '../start-replays.ts'
import { parseTimeRange } from '../time-range.ts'

const tag = 'Events'
const credentials = 'bearer'
const scope = 'read:events'

/** The routes on which producers read and replay the events that they have posted. */
export const createEventRoutes = (deps: ApiDependencies): Route[] => [
  listEventsRoute(deps),
  getEventRoute(deps),
  listEventDeliveriesRoute(deps),
  replayEventRoute(deps),
]

function listEventsRoute(deps: ApiDependencies): Route {
  const routedMessages = createRoutedMessages(deps)
  const summaryOf = createSummaries(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/events',
    operationId: 'listEvents',
    summary: 'List events, newest first',
    description:
      'Returns the events of the account, without their payloads. An event appears as soon as it is routed, which is a moment after it was accepted.',
    tag,
    credentials,
    scope,
    query: listEventsQuery,
    errors: ['invalid_cursor', 'delivery_log_unavailable'],
    responses: {
      200: {
        description:
          'A page of events. With filters, a page may be short or empty although more events follow. The list ends when next_cursor is null.',
        schema: envelope(listOf(listedEvent), cursorPagination),
      },
    },
    async handler({ query, caller }) {
      const { limit = defaultLimit, cursor, event: name, status } = query
      const page = await deps.messages.list({
        tenant: caller.tenant,
        ...parseTimeRange(query),
        ...(name === undefined ? {} : { event: name }),
        ...(status === undefined ? {} : { matched: status === 'routed' }),
        ...(cursor === undefined ? {} : { after: readMessageCursor(cursor) }),
        limit,
      })
      const countedMessages = page.messages.filter(({ webhooks }) => webhooks.length <= countedDeliveries)
      const ids = page.messages.map(({ message }) => message)
      const [counts, rejected] = await Promise.all([
        routedMessages.counts(countedMessages),
        deps.messages.withRejections(caller.tenant, ids),
      ])
      const countsOf = new Map(countedMessages.map((message, i) => [message, counts[i]]))
      const data = page.messages.map(
        (message): shown.ListedEvent => ({
          ...summaryOf(message),
          deliveries: countsOf.get(message) ?? null,
          has_rejections: rejected.has(message.message),
        }),
      )
      return envelopeResult(200, data, {}, { limit, next_cursor: page.next === null ? null : writeMessageCursor(page.next) })
    },
  })
}

function getEventRoute(deps: ApiDependencies): Route {
  const { deliveryLog, messages, keyring } = deps
  const routedMessages = createRoutedMessages(deps)
  const summaryOf = createSummaries(deps)
  const readBody = async (message: IndexedMessage) => {
    const [sealedBody] = await deliveryLog.bodies([message])
    const reason = await absenceOf(deps.streams, message, sealedBody)
    if (reason !== null || !sealedBody) return { body: null, reason }
    const vault = await keyring.vault(message.tenant)
    if (vault.isErased) return { body: null, reason: 'payload_erased' } as const
    return { body: readMessageBody(openBody(vault, message.tenant, message.message, sealedBody)), reason }
  }
  return guardedRoute({
    method: 'GET',
    path: '/v1/events/:id',
    operationId: 'getEvent',
    summary: 'Read an event and the state of its deliveries',
    description:
      'Returns an event with its payload exactly as it was sent, and how many of its deliveries succeeded. `has_rejections` says that other content was posted under the same id. With `as_of`, it returns what was known of the deliveries at that time.',
    params: { id: { ...messageId, description: 'The id of the event.' } },
    tag,
    credentials,
    scope,
    query: asOfQuery,
    errors: ['delivery_log_unavailable', 'store_unavailable'],
    responses: {
      200: { description: 'The event. The response waits a short time for the routing of a new event.', schema: envelope(event) },
    },
    async handler({ params, query, caller, gone }) {
      const time = query.as_of === undefined ? undefined : parseAsOf(query.as_of, deps.now())
      const message = await routedMessages.find(caller.tenant, params.id, gone)
      if (time !== undefined && message.accepted_at > time) throw notRetained(deps)
      const [{ body, reason }, [deliveries], allRejections] = await Promise.all([
        readBody(message),
        routedMessages.counts([message], time),
        messages.rejections(caller.tenant, message.message),
      ])
      const rejections = allRejections.filter(({ accepted_at }) => time === undefined || accepted_at <= time)
      const view = {
        ...summaryOf(message),
        event_time: body?.event_time ?? null,
        source: body?.source ?? null,
        deliveries: deliveries ?? null,
        has_rejections: rejections.length > 0,
        rejections: rejections.map(({ accepted_at }) => ({ accepted_at, reason: 'content_differs' })),
        payload_reason: reason,
      } satisfies shown.EventDetail
      // The payload is inserted as the text that the producer sent, because parsing and serializing would change it.
      return envelopeTextResult(200, `${JSON.stringify(view).slice(0, -1)},"payload":${body?.payload ?? 'null'}}`)
    },
  })
}

function listEventDeliveriesRoute(deps: ApiDependencies): Route {
  const routedMessages = createRoutedMessages(deps)
  const { viewsOfMessage } = createDeliveryViews(deps)
  return guardedRoute({
    method: 'GET',
    path: '/v1/events/:id/deliveries',
    operationId: 'listEventDeliveries',
    summary: 'List the deliveries of an event; the one to the newest webhook comes first',
    description: 'Returns what became of one event: a delivery for each webhook that matched it, with every attempt.',
    params: { id: { ...messageId, description: 'The id of the event.' } },
    tag,
    credentials,
    scope,
    query: listQuery,
    errors: ['invalid_cursor', 'delivery_log_unavailable'],
    responses: { 200: { description: 'A page of deliveries.', schema: envelope(listOf(delivery), cursorPagination) } },
    async handler({ params, query, caller, gone }) {
      const { limit = defaultLimit } = query
      const after = query.cursor === undefined ? null : readWebhookCursor(query.cursor)
      const message = await routedMessages.find(caller.tenant, params.id, gone)
      const newestFirst = [...message.webhooks].sort().reverse()
      const remaining = after === null ? newestFirst : newestFirst.filter((webhook) => webhook < after)
      const page = remaining.slice(0, limit)
      const keys = page.map((webhook) => deliveryKeyOf(message, webhook))
      const lastWebhook = page.at(-1)
      const hasNext = remaining.length > limit && lastWebhook !== undefined
      const next_cursor = hasNext ? writeWebhookCursor(lastWebhook) : null
      return envelopeResult(200, await viewsOfMessage(message, keys), {}, { limit, next_cursor })
    },
  })
}

function replayEventRoute(deps: ApiDependencies): Route {
  const { deliveryLog } = deps
  const routedMessages = createRoutedMessages(deps)
  const { viewsOf } = createDeliveryViews(deps)
  const startReplays = createStartReplays(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/events/:id/replay',
    operationId: 'replayEvent',
    idempotent: true,
    summary: 'Deliver an event again, with the same event id, to the present URLs, signed with the present secrets',
    description:
      'Starts a new chain of attempts for the deliveries of one event, to all its webhooks or to one of them. Receivers get the same event id again.',
    params: { id: { ...messageId, description: 'The id of the event.' } },
    tag,
    credentials,
    scope: 'write:events',
    body: replayEvent,
    example: { webhook_id: '01JQNV4T0M2ZB7V6RWKD5YQ3XE' },
    bodyOptional: true,
    errors: ['payload_expired', 'payload_erased', 'webhook_deleted', 'webhook_inactive', 'delivery_log_unavailable'],
    responses: {
      202: {
        description:
          'The deliveries that start again. Webhooks that are now deleted or inactive are left out. So are deliveries that are not in the history yet, because they are still on their way.',
        schema: envelope(listOf(delivery)),
        example: envelopeExample([replayedExample]),
        headers: lagHeaders,
      },
    },
    async handler(request) {
      const { params, body, caller, gone } = request
      const { tenant } = caller
      const message = await routedMessages.find(tenant, params.id, gone)
      const targets = replayTargets(message, body.webhook_id)
      if (targets.length === 0) return envelopeResult(202, [])
      const keys = targets.map((webhook) => deliveryKeyOf(message, webhook))
      const [{ rows: webhooks }, [sealedBody], firstStates] = await Promise.all([
        listWebhooks(deps, { tenant, ids: targets, limit: targets.length, offset: 0 }),
        deliveryLog.bodies([message]),
        routedMessages.deliveryStates(keys),
      ])
      if (webhooks.length === 0)
        throw new ApiError(
          'webhook_deleted',
          'Every webhook that the event was routed to has been deleted: there is no endpoint to deliver the event to.',
        )
      const active = webhooks.filter((webhook) => webhook.is_active)
      if (active.length === 0)
        throw new ApiError('webhook_inactive', 'No webhook that the event was routed to is active: set is_active to true first.')
      requireBody(sealedBody)
      let states = firstStates
      if (states.includes(null)) {
        // The projection gathers events for a moment, so a delivery that was made just now may not be in the history yet.
        await awaitHead(deps, { name: projectionNames.deliveries, families: dayFamilies })
        states = await routedMessages.deliveryStates(keys)
      }
      const revisionOf = new Map(active.map(({ id, revision }) => [id, revision]))
      const replayables = states.flatMap((state): Replayable[] => {
        const webhookRevision = state === null ? undefined : revisionOf.get(state.webhook)
        return state === null || webhookRevision === undefined ? [] : [{ delivery: state, webhookRevision }]
      })
      const { replayed, headers } = await startReplays(replayables, request)
      return envelopeResult(202, await viewsOf(tenant, replayed), headers)
    },
  })
}

/** Returns the webhooks of a message, or only the requested one. Throws validation_failed if the message was not routed to it. */
function replayTargets(message: IndexedMessage, requested: WebhookId | undefined): readonly WebhookId[] {
  if (requested === undefined) return message.webhooks
  if (!message.webhooks.includes(requested))
    throw invalid([{ path: 'webhook_id', message: 'must be a webhook that the event was routed to' }])
  return [requested]
}

/** Returns a function that makes the fields of an event that a list and a single event have in common. */
function createSummaries(deps: ApiDependencies) {
  const { expiresAt } = createDeliveryViews(deps)
  return (message: IndexedMessage): Omit<shown.ListedEvent, 'deliveries' | 'has_rejections'> => ({
    id: message.message,
    event: message.event,
    status: message.webhooks.length === 0 ? 'unmatched' : 'routed',
    accepted_at: message.accepted_at,
    expires_at: expiresAt(message.accepted_at),
  })
}
