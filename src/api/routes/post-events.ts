import type { MessageId } from '../../events/ids.ts'
import { step } from '../../events/steps.ts'
import { isObject } from '../../lib/is-object.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Detail } from '../errors.ts'
import { parseMessageId } from '../ids.ts'
import { elementRanges, memberRange } from '../json-byte-ranges.ts'
import { depthFault } from '../payload-depth.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeTextResult } from '../route-results.ts'
import { envelope, envelopeExample, listOf } from '../schemas/common.ts'
import { acceptedEvent, postEvent, postEvents } from '../schemas/event.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { sealMessage } from '../seal-message.ts'

type PostDependencies = ApiDependencies & { newUlid(): string }

/** The routes of producers. Both must be fast, so they wait only for the bus. */
export const createPostEventRoutes = (deps: PostDependencies): Route[] => [postEventRoute(deps), postEventsRoute(deps)]

const postEventRoute = (deps: PostDependencies): Route =>
  guardedRoute({
    method: 'POST',
    path: '/v1/events',
    operationId: 'postEvent',
    summary: 'Send an event to every webhook that subscribed to it',
    description:
      'Accepts one event and stores it durably before it responds. The event is then delivered to every active webhook of the account whose pattern matches its name. Send your own `id`: then a repeated request after a time-out does no harm. The response says nothing about deliveries: read the event for that.',
    tag: 'Events',
    credentials: 'bearer',
    scope: 'write:events',
    body: postEvent,
    example: {
      id: 'evt_producer_unique_id_12345',
      event: 'order.created',
      event_time: '2026-03-31T00:42:50Z',
      source: 'order-service',
      payload: { order_id: 'ord_991', amount: 12.5 },
    },
    bodyLimit: 256 * 1024,
    quota: 'events',
    quiet: true,
    async check(event) {
      const message = depthFault(event, deps.settings.maxPayloadDepth)
      return message === undefined ? [] : [{ path: 'payload', message }]
    },
    errors: ['bus_full', 'bus_unavailable', 'key_destroyed'],
    responses: { 202: { description: 'The event is stored durably.', schema: envelope(acceptedEvent) } },
    async handler({ body, rawBody, caller, requestId, kolbakRequestId }) {
      const { keyring, bus, now } = deps
      const { tenant } = caller
      const vault = keyring.cached(tenant) ?? (await keyring.vault(tenant))
      const id = body.id ?? newMessageId(deps)
      const record = {
        tenant,
        accepted_at: new Date(now()).toISOString(),
        correlation_id: requestId,
        by: { actor: caller.actor, request_id: kolbakRequestId },
        messages: [sealMessage(vault, tenant, id, body, payloadBytes(rawBody))],
      }
      await step('message.produce', () => bus.produce(record))
      return envelopeTextResult(202, acceptedJson(id))
    },
  })

const postEventsRoute = (deps: PostDependencies): Route =>
  guardedRoute({
    method: 'POST',
    path: '/v1/events/batch',
    operationId: 'postEvents',
    summary: 'Send up to 1,000 events at once: either all of them are accepted, or none',
    description:
      'Accepts many events in one request, which is the fastest way to send them. Each event is delivered on its own, as if it had been posted alone.',
    tag: 'Events',
    credentials: 'bearer',
    scope: 'write:events',
    body: postEvents,
    example: {
      events: [
        { id: 'evt_1', event: 'order.created', payload: { order_id: 'ord_991' } },
        { id: 'evt_2', event: 'order.paid', source: 'payments', payload: { order_id: 'ord_991', amount: 12.5 } },
      ],
    },
    bodyLimit: 1024 * 1024,
    quota: 'events',
    quiet: true,
    check: async ({ events }) => batchFaults(Array.isArray(events) ? events : [], deps.settings.maxPayloadDepth),
    errors: ['bus_full', 'bus_unavailable', 'key_destroyed', 'record_too_large'],
    responses: {
      202: {
        description: 'All events are stored durably. The list has the order of the request.',
        schema: envelope(listOf(acceptedEvent)),
        example: envelopeExample([exampleOf(acceptedEvent, { id: 'evt_1' }), exampleOf(acceptedEvent, { id: 'evt_2' })]),
      },
    },
    async handler({ body, rawBody, caller, requestId, kolbakRequestId, countMore }) {
      await countMore(body.events.length - 1)
      const { keyring, bus, now } = deps
      const { tenant } = caller
      const vault = keyring.cached(tenant) ?? (await keyring.vault(tenant))
      const array = memberRange(rawBody, 'events')
      const ranges = array === null ? [] : elementRanges(rawBody, array)
      if (ranges.length !== body.events.length) throw new Error('the events that were validated are not in the body')
      const messages = body.events.map((event, i) => {
        const { start, end } = ranges[i]!
        return sealMessage(vault, tenant, event.id ?? newMessageId(deps), event, payloadBytes(rawBody.subarray(start, end)))
      })
      const record = {
        tenant,
        accepted_at: new Date(now()).toISOString(),
        correlation_id: requestId,
        by: { actor: caller.actor, request_id: kolbakRequestId },
        messages,
      }
      await step('batch.produce', () => bus.produce(record))
      return envelopeTextResult(202, `[${messages.map(({ id }) => acceptedJson(id)).join(',')}]`)
    },
  })

const newMessageId = ({ newUlid }: PostDependencies): MessageId => parseMessageId(`evt_${newUlid()}`)

/** Returns the bytes of the payload as they were sent. */
function payloadBytes(json: Buffer): Buffer {
  const range = memberRange(json, 'payload')
  if (range === null) throw new Error('the payload that was validated is not in the body')
  return json.subarray(range.start, range.end)
}

/**
 * Returns the faults of payloads and of ids that occur twice. The second message with an id would be a duplicate, or would be rejected later without
 * a response.
 */
function batchFaults(events: readonly unknown[], maxDepth: number): Detail[] {
  const firstIndexOf = new Map<string, number>()
  const details: Detail[] = []
  for (const [i, event] of events.entries()) {
    if (details.length >= 100) break
    const fault = depthFault(event, maxDepth)
    if (fault !== undefined) details.push({ path: `events.${i}.payload`, message: fault })
    const id = isObject(event) ? event.id : undefined
    if (typeof id !== 'string') continue
    const firstIndex = firstIndexOf.get(id)
    if (firstIndex === undefined) firstIndexOf.set(id, i)
    else details.push({ path: `events.${i}.id`, message: `is also the id of events.${firstIndex}` })
  }
  return details
}

/** Ids contain only letters, digits and `_:-`, so nothing in them needs an escape. */
const acceptedJson = (id: MessageId) => `{"id":"${id}","message":"Event accepted for processing."}`
