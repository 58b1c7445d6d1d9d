import type { RecordedEvent } from '../events/envelope.ts'
import type { TenantId } from '../events/ids.ts'
import { accessStream, dayOfStream } from '../events/streams.ts'
import { msPerDay } from '../lib/days.ts'
import type { EventStore } from '../ports/event-store.ts'

/** The most events of one read. */
const pageSize = 100
/** The index of an access event is the number of its day since 1970, times this number, plus its revision. */
const perDay = 100_000_000

/** Returns the index of an access event, by which a stream of them can be continued. It is no index of the audit log. */
export const accessIndexOf = ({ stream, revision }: Pick<RecordedEvent, 'stream' | 'revision'>): number =>
  (Date.parse(dayOfStream(stream)) / msPerDay) * perDay + revision

interface AccessQuery {
  readonly tenant: TenantId
  /** The index after which the events begin, or -1. */
  readonly after: number
  readonly since?: string
  readonly until?: string
  readonly retentionDays: number
  /** The present time in milliseconds since 1970. */
  readonly now: number
}
type Store = Pick<EventStore, 'read'>

/** Returns the index of the last access event of a tenant that is stored now, or -1. */
export async function lastAccessIndex(store: Store, { tenant, retentionDays, now }: Pick<AccessQuery, 'tenant' | 'retentionDays' | 'now'>) {
  for (const day of daysFrom(now - retentionDays * msPerDay, now).reverse()) {
    const [last] = await store.read(accessStream(tenant, day), { backwards: true, limit: 1 })
    if (last !== undefined) return accessIndexOf(last)
  }
  return -1
}

/** Yields the access events of a tenant, oldest first, in batches of at most 100 events. @param end the index of the last one */
export async function* accessEvents(store: Store, query: AccessQuery, end: number): AsyncGenerator<RecordedEvent[]> {
  const { tenant, after, since, until, retentionDays, now } = query
  const first = Math.max(now - retentionDays * msPerDay, since === undefined ? 0 : Date.parse(since) - msPerDay)
  for (const day of daysFrom(first, now)) {
    const stream = accessStream(tenant, day)
    const dayIndex = accessIndexOf({ stream, revision: 0 })
    for (let from = Math.max(0, after + 1 - dayIndex); dayIndex + from <= end && from < perDay; ) {
      const events = await store.read(stream, { from, limit: pageSize })
      const last = events.at(-1)
      if (last === undefined) break
      yield events.filter(
        (event) =>
          accessIndexOf(event) <= end &&
          (since === undefined || event.metadata.time >= since) &&
          (until === undefined || event.metadata.time < until),
      )
      from = last.revision + 1
    }
  }
}

/** Returns a time of each day (RFC 3339), from the first one to the last one. */
function daysFrom(first: number, last: number): string[] {
  const firstDay = Math.floor(first / msPerDay)
  return Array.from({ length: Math.floor(last / msPerDay) - firstDay + 1 }, (_, i) => new Date((firstDay + i) * msPerDay).toISOString())
}
