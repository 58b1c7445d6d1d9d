import { randomUUID } from 'node:crypto'
import { type DeliveryEvents, type RoutedMessage, webhooksPerPart } from '../events/delivery.ts'
import { rejectedId, routedId } from '../events/delivery-id.ts'
import type { EventId, Place } from '../events/ids.ts'
import { type Message, type MessageRecord, recordedRef } from '../events/message-record.ts'
import { sealEvent } from '../events/sealed-fields.ts'
import { step } from '../events/steps.ts'
import { routingStream } from '../events/streams.ts'
import { createGroupCommit } from '../lib/group-commit.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { IndexedMessage } from '../projections/message-index.ts'

export interface RouteEventsDeps {
  readonly store: Pick<EventStore, 'append'>
  readonly log: Log
  now(): number
  /** Returns whether every live process can read MessagesRouted. A process of version 0.2 cannot. */
  readsMessagesRouted(): boolean
}
/** A message of the bus, with the values that the events of its routing contain. */
interface RoutedFrom {
  readonly record: MessageRecord
  readonly message: Message
  readonly place: Place
}

/**
 * Appends the event of a message that was routed. Retries until this succeeds.
 * @param isRedelivered whether another process may have appended it before it died
 */
export type AppendRouted = (from: RoutedFrom, row: IndexedMessage, isRedelivered: boolean) => Promise<void>

/** A message and its row of the index, which wait to be appended with others. */
interface Waiting {
  readonly from: RoutedFrom
  readonly row: IndexedMessage
}
/** Limits of one MessagesRouted. The number of bytes is approximate. */
const group = { messages: 500, bytes: 256 << 10 }
/** Approximate bytes in the event: of a message without its webhooks, and of one webhook. */
const bytesOf = { message: 700, webhook: 30 }

/**
 * Creates the function that appends the events of routing. Messages that come during an append are appended together, as one MessagesRouted for
 * each tenant and day. A lone message gets a MessageRouted. So does a redelivered message, because the id of a MessageRouted follows from the message,
 * and the event is then stored once. A MessagesRouted has a random id, because two processes may route different sets that share a message.
 */
export function createRoutedAppends(deps: RouteEventsDeps): AppendRouted {
  const together = createGroupCommit<Waiting, undefined>({
    async write(batch) {
      await Promise.all(groupsOf(batch).map((waiting) => appendTogether(deps, waiting)))
      return batch.map(() => undefined)
    },
    bytesOf: ({ from: { message }, row }) =>
      bytesOf.message + row.webhooks.length * bytesOf.webhook + 3 * ((message.source?.length ?? 0) + (message.event_time?.length ?? 0)),
    maxCount: group.messages,
    maxBytes: group.bytes,
    // The consumer already limits the messages in progress.
    maxWaiting: Number.POSITIVE_INFINITY,
  })
  return async (from, row, isRedelivered) => {
    if (isRedelivered || row.webhooks.length > webhooksPerPart || !deps.readsMessagesRouted())
      return appendAlone(deps, from, row, isRedelivered)
    await together.add({ from, row })
  }
}

/** Returns the messages that can be in one event. */
const groupsOf = (batch: readonly Waiting[]): Waiting[][] => [
  ...Map.groupBy(batch, ({ from: { record }, row }) => `${routingStream(record.tenant, record.accepted_at)} ${row.matched_at}`).values(),
]

async function appendTogether(deps: RouteEventsDeps, waiting: readonly Waiting[]): Promise<void> {
  const [{ from, row }] = waiting as [Waiting]
  if (waiting.length === 1) return appendAlone(deps, from, row, false)
  const data = { messages: waiting.map(routedMessage), matched_at: row.matched_at }
  await append(deps, from, { id: randomUUID() as EventId, type: 'MessagesRouted', data })
}
const routedMessage = ({ from: { record, message, place }, row }: Waiting): RoutedMessage => {
  const { tenant, ...ref } = recordedRef(record, message, place)
  return {
    ...ref,
    ...(message.source === null ? {} : { source: message.source }),
    ...(message.event_time === null ? {} : { event_time: message.event_time }),
    correlation_id: record.correlation_id,
    webhooks: [...row.webhooks],
    ...(record.by === undefined ? {} : { producer: record.by }),
  }
}

/** Appends the MessageRouted events of a message: one for each part of 5,000 webhooks, in the order of the parts. */
async function appendAlone(
  deps: RouteEventsDeps,
  from: RoutedFrom,
  { webhooks, matched_at }: IndexedMessage,
  isRedelivered: boolean,
): Promise<void> {
  const { record, message, place } = from
  const since = isRedelivered ? record.accepted_at : undefined // mutation: repeat-not-looked-for
  const parts = Math.max(1, Math.ceil(webhooks.length / webhooksPerPart))
  for (let part = 0; part < parts; part++) {
    const data: DeliveryEvents['MessageRouted'] = {
      ...recordedRef(record, message, place),
      source: message.source,
      event_time: message.event_time,
      webhooks: webhooks.slice(part * webhooksPerPart, (part + 1) * webhooksPerPart),
      part,
      parts,
      matched_at,
      ...(record.by === undefined ? {} : { producer: record.by }),
    }
    await append(deps, from, { id: routedId(record.tenant, message.id, place, part), type: 'MessageRouted', data }, since)
  }
}

/** Appends the event of a message whose id is in use with other content. Retries until this succeeds. */
export async function appendRejected(deps: RouteEventsDeps, from: RoutedFrom): Promise<void> {
  const { record, message, place } = from
  const data: DeliveryEvents['MessageRejected'] = { ...recordedRef(record, message, place), reason: 'content_differs' }
  // The event may exist already, because the index does not know whether this message has come before: it has only the place of the first message
  // with this id.
  await append(deps, from, { id: rejectedId(place), type: 'MessageRejected', data }, record.accepted_at)
}

const points = { MessageRouted: 'route.append', MessagesRouted: 'route.append', MessageRejected: 'route.reject' } as const

/** @param since time since which another process may have appended the event */
async function append(
  { store, log, now }: RouteEventsDeps,
  { record, message }: RoutedFrom,
  unsealed: { readonly id: EventId; readonly type: keyof typeof points; readonly data: object },
  since?: string,
): Promise<void> {
  const { tenant, accepted_at, correlation_id } = record
  const time = new Date(now()).toISOString()
  const metadata = { actor: 'system:dispatcher', tenant, time, $correlationId: correlation_id, $causationId: null } as const
  const stream = routingStream(tenant, accepted_at)
  const event = sealEvent(null, stream, { ...unsealed, metadata })
  const options = { patient: true, ...(since === undefined ? {} : { since }) }
  await untilDone(() => step(points[unsealed.type], () => store.append(stream, [event], 'any', options)), {
    onError: (error, delayMs) => log.warn({ error, delayMs, message: message.id }, 'routing.append_failed'),
  })
}
