import type { MessageId } from '../../events/ids.ts'
import { step } from '../../lib/points.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Detail } from '../errors.ts'
import { parseMessageId } from '../ids.ts'
import { elementRanges, memberRange } from '../json-byte-ranges.ts'
import { guardedRoute, type Route, type RouteResult } from '../route.ts'
import { envelope, listOf } from '../schemas/common.ts'
import { acceptedEvent, postEvent, postEvents } from '../schemas/event.ts'
import { sealMessage } from '../seal-message.ts'

/** What producers do. Both routes are hot: nothing is waited for but the bus. */
export function createPostEventRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const { bus, keyring, now, newUlid } = deps
  const tag = 'Events'
  const idOf = (given: MessageId | undefined): MessageId => given ?? parseMessageId(`evt_${newUlid()}`)

  return [
    guardedRoute({
      method: 'POST',
      path: '/v1/events',
      operationId: 'postEvent',
      summary: 'Send an event to every webhook that wants it',
      tag,
      credentials: 'bearer',
      scope: 'write:events',
      body: postEvent,
      bodyLimit: 256 * 1024,
      quota: 'events',
      quiet: true,
      errors: ['bus_full', 'bus_unavailable', 'key_destroyed'],
      responses: { 202: { description: 'Accepted, durably.', schema: envelope(acceptedEvent) } },
      async handler({ body, rawBody, caller, requestId }) {
        const { tenant } = caller
        const vault = keyring.cached(tenant) ?? (await keyring.vault(tenant))
        const id = idOf(body.id)
        const record = {
          tenant,
          accepted_at: new Date(now()).toISOString(),
          correlation_id: requestId,
          messages: [sealMessage(vault, tenant, id, body, payloadIn(rawBody))],
        }
        await step('message.produce', () => bus.produce(record))
        return accepted(written(id))
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/events/batch',
      operationId: 'postEvents',
      summary: 'Send up to 1,000 events at once: all of them are accepted, or none',
      tag,
      credentials: 'bearer',
      scope: 'write:events',
      body: postEvents,
      bodyLimit: 1024 * 1024,
      quota: 'events',
      quiet: true,
      check: repeatedIds,
      errors: ['bus_full', 'bus_unavailable', 'key_destroyed', 'record_too_large'],
      responses: { 202: { description: 'All accepted, durably; in the order sent.', schema: envelope(listOf(acceptedEvent)) } },
      async handler({ body, rawBody, caller, requestId, counts }) {
        await counts(body.events.length - 1)
        const { tenant } = caller
        const vault = keyring.cached(tenant) ?? (await keyring.vault(tenant))
        const array = memberRange(rawBody, 'events')
        const spans = array === null ? [] : elementRanges(rawBody, array)
        if (spans.length !== body.events.length) throw new Error('the events that were validated are not in the body')
        const messages = body.events.map((event, i) =>
          sealMessage(vault, tenant, idOf(event.id), event, payloadIn(rawBody.subarray(spans[i]!.start, spans[i]!.end))),
        )
        const record = { tenant, accepted_at: new Date(now()).toISOString(), correlation_id: requestId, messages }
        await step('batch.produce', () => bus.produce(record))
        return accepted(`[${messages.map(({ id }) => written(id)).join(',')}]`)
      },
    }),
  ]
}

/** The payload's bytes as they were sent. */
function payloadIn(json: Buffer): Buffer {
  const span = memberRange(json, 'payload')
  if (span === null) throw new Error('the payload that was validated is not in the body')
  return json.subarray(span.start, span.end)
}

/** Two messages of one id cannot both be accepted: the second would be a duplicate, or be rejected later and silently. */
async function repeatedIds({ events }: Readonly<Record<string, unknown>>): Promise<Detail[]> {
  const first = new Map<unknown, number>()
  const details: Detail[] = []
  for (const [i, event] of (Array.isArray(events) ? events : []).entries()) {
    const id: unknown = event?.id
    if (typeof id !== 'string') continue
    const before = first.get(id)
    if (before === undefined) first.set(id, i)
    else if (details.length < 100) details.push({ path: `events.${i}.id`, message: `is the id of events.${before} too` })
  }
  return details
}

/** Ids are letters, digits and `_:-`: nothing in them needs an escape. */
const written = (id: MessageId) => `{"id":"${id}","message":"Event accepted for processing."}`
const accepted = (data: string): RouteResult => ({
  status: 202,
  text: { type: 'application/json; charset=utf-8', content: `{"data":${data},"error":null,"pagination":null}` },
})
