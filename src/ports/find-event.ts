import type { DeliveryEvents } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { WebhookId } from '../events/ids.ts'
import { attemptsStream, type StreamName } from '../events/streams.ts'
import type { Attempt } from './delivery-log.ts'
import type { EventStore } from './event-store.ts'

const pageSize = 500

interface Search {
  /** The time near which the event was appended, in RFC 3339. */
  readonly time: string
  /** An event may have an earlier time than the event before it in its stream, by at most this many milliseconds. */
  readonly disorderMs: number
  /** The most milliseconds after `time` that are searched. */
  readonly untilMs: number
  readonly maxPages: number
}

/** Finds an event in the stream of a day. A binary search finds its place, because the times of the events rise, except by `disorderMs`. */
export async function findInStream(
  store: Pick<EventStore, 'read'>,
  stream: StreamName,
  { time, disorderMs, untilMs, maxPages }: Search,
  isWanted: (event: RecordedEvent) => boolean,
): Promise<RecordedEvent | null> {
  const near = Date.parse(time)
  const timeAt = async (revision: number) => Date.parse((await store.read(stream, { from: revision, limit: 1 }))[0]?.metadata.time ?? time)
  const [last] = await store.read(stream, { backwards: true, limit: 1 })
  let low = 0
  let high = last?.revision ?? 0
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((await timeAt(middle)) < near - disorderMs) low = middle + 1
    else high = middle
  }
  for (let page = 0; page < maxPages; page++) {
    const events: readonly RecordedEvent[] = await store.read(stream, { from: low, limit: pageSize })
    const match = events.find(isWanted)
    if (match !== undefined) return match
    const end = events.at(-1)
    if (end === undefined || Date.parse(end.metadata.time) > near + untilMs) return null
    low = end.revision + 1
  }
  return null
}

/**
 * An event may have an earlier time than the event before it in its stream, by at most this many milliseconds. The time is that of the request, and the
 * request with all tries of the append takes less than this.
 */
const disorderMs = 60_000

/** Returns the event of an attempt, or null if it is not found. @param maxPages the most pages of 500 events to read */
export async function findAttemptEvent(
  store: Pick<EventStore, 'read'>,
  webhook: WebhookId,
  { event_id, time }: Pick<Attempt, 'event_id' | 'time'>,
  maxPages = 40,
): Promise<RecordedEvent<'DeliverySucceeded', DeliveryEvents['DeliverySucceeded']> | null> {
  const search = { time, disorderMs, untilMs: disorderMs, maxPages }
  const event = await findInStream(store, attemptsStream(webhook, time), search, ({ id }) => id === event_id)
  return event as RecordedEvent<'DeliverySucceeded', DeliveryEvents['DeliverySucceeded']> | null
}
