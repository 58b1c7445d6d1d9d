import type { DeliveryEvents } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { WebhookId } from '../events/ids.ts'
import { attemptsStream, type StreamName } from '../events/streams.ts'
import type { Attempt } from './delivery-log.ts'
import type { EventStore } from './event-store.ts'

/** The first page is small, because the event is nearly always within some places of the first event of its time. Each further page is twice as large. */
const firstPageSize = 16
const maxPageSize = 500
/** The search for the first event of a time reads this many events at once. An event of routing may hold a hundred messages. */
const probes = 3

interface Search {
  /** The time near which the event was appended, in RFC 3339. */
  readonly time: string
  /** An event may have an earlier time than the event before it in its stream, by at most this many milliseconds. */
  readonly disorderMs: number
  /** The most milliseconds after `time` that are searched. */
  readonly untilMs: number
  /** The most pages that are read before the first event of the time, and the most after it. */
  readonly maxPages: number
}

/** Finds an event in the stream of a day. The times of the events rise, except by `disorderMs`. So pages are read from the place of the time outwards. */
export async function findInStream(
  store: Pick<EventStore, 'read'>,
  stream: StreamName,
  { time, disorderMs, untilMs, maxPages }: Search,
  isWanted: (event: RecordedEvent) => boolean,
): Promise<RecordedEvent | null> {
  const near = Date.parse(time)
  const place = await placeOf(store, stream, near)
  const nearest = await store.read(stream, { from: Math.max(0, place - firstPageSize / 2), limit: firstPageSize })
  const match = nearest.find(isWanted)
  if (match !== undefined) return match
  const timeOf = (event: RecordedEvent | undefined) => (event === undefined ? Number.NaN : Date.parse(event.metadata.time))
  let [before, after] = [nearest[0], nearest.at(-1)]
  for (let page = 1; page <= maxPages; page++) {
    const limit = Math.min(maxPageSize, firstPageSize * 2 ** page)
    const isBefore = before !== undefined && before.revision > 0 && timeOf(before) >= near - disorderMs
    const isAfter = timeOf(after) <= near + untilMs
    if (!isBefore && !isAfter) return null
    const [earlier, later] = await Promise.all([
      isBefore ? store.read(stream, { from: before!.revision - 1, limit, backwards: true }) : [],
      isAfter ? store.read(stream, { from: after!.revision + 1, limit }) : [],
    ])
    const further = [...later, ...earlier].find(isWanted)
    if (further !== undefined) return further
    ;[before, after] = [earlier.at(-1), later.at(-1)]
  }
  return null
}

/** Returns the revision of about the first event of a stream that is not older than a time in milliseconds since 1970. */
async function placeOf(store: Pick<EventStore, 'read'>, stream: StreamName, time: number): Promise<number> {
  const [last] = await store.read(stream, { backwards: true, limit: 1 })
  let [low, high] = [0, last?.revision ?? 0]
  while (low < high) {
    const part = (high - low) / (probes + 1)
    const revisions = [...new Set(Array.from({ length: probes }, (_, i) => low + Math.floor(part * (i + 1))))]
    const times = await Promise.all(
      revisions.map(async (from) => Date.parse((await store.read(stream, { from, limit: 1 }))[0]?.metadata.time ?? '')),
    )
    // An event that is no longer read has no time, and is older than those that are.
    const next = times.findIndex((own) => own >= time)
    if (next >= 0) high = revisions[next]!
    if (next !== 0) low = revisions.at(next < 0 ? -1 : next - 1)! + 1
  }
  return low
}

/**
 * An event may have an earlier time than the event before it in its stream, by at most this many milliseconds. The time is that of the request, and the
 * request with all tries of the append takes less than this.
 */
const disorderMs = 60_000

/** Returns the event of an attempt, or null if it is not found. @param maxPages the most pages of up to 500 events to read in each direction */
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
