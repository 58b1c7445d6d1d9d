import { type DeliveryEvents, webhooksPerPart } from '../events/delivery.ts'
import { rejectedId, routedId } from '../events/delivery-id.ts'
import type { EventId, Place } from '../events/ids.ts'
import { type Message, type MessageRecord, recordedRef } from '../events/message-record.ts'
import { sealEvent } from '../events/sealed-fields.ts'
import { step } from '../events/steps.ts'
import { routingStream } from '../events/streams.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { IndexedMessage } from '../projections/message-index.ts'

export interface RouteEventsDeps {
  readonly store: Pick<EventStore, 'append'>
  readonly log: Log
  now(): number
}
/** A message of the bus, with the values that the events of its routing contain. */
interface RoutedFrom {
  readonly record: MessageRecord
  readonly message: Message
  readonly place: Place
}

/**
 * Appends the MessageRouted events of a message: one for each part of 5,000 webhooks, in the order of the parts. Retries until this succeeds.
 * @param isRedelivered whether another process may have appended them before it died
 */
export async function appendRouted(
  deps: RouteEventsDeps,
  from: RoutedFrom,
  { webhooks, matched_at }: IndexedMessage,
  isRedelivered: boolean,
): Promise<void> {
  const { record, message, place } = from
  const since = isRedelivered ? record.accepted_at : undefined // mutation: repeat-not-looked-for
  const parts = Math.max(1, Math.ceil(webhooks.length / webhooksPerPart))
  for (let part = 0; part < parts; part++)
    await append(
      deps,
      from,
      routedId(record.tenant, message.id, place, part),
      'MessageRouted',
      {
        source: message.source,
        event_time: message.event_time,
        webhooks: webhooks.slice(part * webhooksPerPart, (part + 1) * webhooksPerPart),
        part,
        parts,
        matched_at,
        ...(record.by === undefined ? {} : { producer: record.by }),
      },
      since,
    )
}

/** Appends the event of a message whose id is in use with other content. Retries until this succeeds. */
export async function appendRejected(deps: RouteEventsDeps, from: RoutedFrom): Promise<void> {
  // The event may exist already, because the index does not know whether this message has come before: it has only the place of the first message
  // with this id.
  await append(deps, from, rejectedId(from.place), 'MessageRejected', { reason: 'content_differs' }, from.record.accepted_at)
}

const points = { MessageRouted: 'route.append', MessageRejected: 'route.reject' } as const

async function append<T extends keyof typeof points>(
  { store, log, now }: RouteEventsDeps,
  { record, message, place }: RoutedFrom,
  id: EventId,
  type: T,
  facts: Omit<DeliveryEvents[T], keyof ReturnType<typeof recordedRef>>,
  since: string | undefined,
): Promise<void> {
  const { tenant, accepted_at, correlation_id } = record
  const time = new Date(now()).toISOString()
  const metadata = { actor: 'system:dispatcher', tenant, time, $correlationId: correlation_id, $causationId: null } as const
  const stream = routingStream(tenant, accepted_at)
  const event = sealEvent(null, stream, { id, type, data: { ...recordedRef(record, message, place), ...facts }, metadata })
  const options = { patient: true, ...(since === undefined ? {} : { since }) }
  await untilDone(() => step(points[type], () => store.append(stream, [event], 'any', options)), {
    onError: (error, delayMs) => log.warn({ error, delayMs, message: message.id }, 'routing.append_failed'),
  })
}
