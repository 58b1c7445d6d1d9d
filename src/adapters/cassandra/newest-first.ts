import { dayOf, msPerDay } from '../../lib/days.ts'
import { KolbakError } from '../../lib/errors.ts'
import type { Delivery } from '../../ports/delivery-log.ts'

/** The position of a row in a list that is ordered by (time, delivery). Times are ms since 1970. */
export interface Position {
  readonly at: number
  readonly delivery: string
}
/** Selects the rows that are not older than `since` and come before `before` in the order of time. */
export interface Range {
  readonly since: number
  readonly before: Position
}

/** The most rows in one query. A list with many outdated rows is read in growing chunks up to this size. */
const maxChunk = 1_000
/** The most rows that are read for one page. One node needs about ten seconds to read them. */
const maxRead = 50_000

/**
 * Reads one page of a list that has a partition for each day. Reads the newest day first, and stops when the page is full.
 * Several days are read at once, because most may be empty and each costs a round trip.
 * Throws KolbakError `history_too_wide` when it would have to read more than `maxRead` rows.
 * @param read returns at most `limit` rows of one day before a position, newest first; fewer rows mean that the day has no more
 * @param check returns the deliveries of the rows that count, in their order
 */
export async function newestFirst<R extends Position>(options: {
  range: Range
  limit: number
  read(day: string, range: Range, limit: number): Promise<R[]>
  check(rows: readonly R[]): Promise<Delivery[]>
}): Promise<Delivery[]> {
  const { range, limit, read, check } = options
  const deliveries: Delivery[] = []
  if (limit < 1) return deliveries
  let rowsRead = 0
  for (const days of groupsOfDays(range)) {
    const firsts = await Promise.all(days.map((day) => read(day, range, limit)))
    for (const [i, day] of days.entries()) {
      let rows = firsts[i] ?? []
      for (let chunk = limit; ; ) {
        rowsRead += rows.length
        if (rowsRead > maxRead + limit)
          throw new KolbakError(
            'history_too_wide',
            'Too few of the deliveries in this range are of that kind: narrow the range by `since` and `until`.',
          )
        deliveries.push(...(await check(rows)))
        if (deliveries.length >= limit) return deliveries.slice(0, limit)
        const last = rows.at(-1)
        if (last === undefined || rows.length < chunk) break
        chunk = Math.max(limit, Math.min(chunk * 2, maxChunk))
        rows = await read(day, { ...range, before: last }, chunk)
      }
    }
  }
  return deliveries
}

/** Yields the days of the range in groups, newest first. The first group is small, because most pages end there. */
function* groupsOfDays({ since, before }: Range): Generator<string[]> {
  let group: string[] = []
  let size = 2
  const oldest = Math.floor(since / msPerDay)
  for (let day = Math.floor(before.at / msPerDay); day >= oldest; day--) {
    group.push(dayOf(day * msPerDay))
    if (group.length < size) continue
    yield group
    group = []
    size = Math.min(size * 2, 16)
  }
  if (group.length > 0) yield group
}

/**
 * Returns the range of a query. Without an end it reaches a day into the future, because another process's clock may be ahead.
 * @param oldest time before which no row exists
 */
export function rangeOf(
  query: { since?: string | undefined; until?: string | undefined; after?: { at: string; delivery: string } | undefined },
  { oldest, now = Date.now() }: { oldest: number; now?: number },
): Range {
  const ends: Position[] = [{ at: now + msPerDay, delivery: '' }]
  if (query.until !== undefined) ends.push({ at: timeOf(query.until), delivery: '' }) // '' is less than every id
  if (query.after !== undefined) ends.push({ at: timeOf(query.after.at), delivery: query.after.delivery })
  const before = ends.reduce((a, b) => (b.at < a.at || (b.at === a.at && b.delivery < a.delivery) ? b : a))
  return { since: Math.max(oldest, query.since === undefined ? oldest : timeOf(query.since)), before }
}

function timeOf(text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new RangeError('a time of the query is not RFC 3339')
  return ms
}
