import { KolbakError } from '../../lib/errors.ts'
import type { Delivery } from '../../ports/delivery-log.ts'

/** Where a row stands in a list that is ordered by (time, delivery). Times are ms since 1970. */
export interface Position {
  readonly at: number
  readonly delivery: string
}
/** What is asked for: not older than `since`, and before `before`. */
export interface Range {
  readonly since: number
  readonly before: Position
}

const dayMs = 86_400_000
/** A query that meets many rows which do not count any more goes on in chunks of at most so many. */
const maxChunk = 1_000
/** And looks at no more than so many in all: some ten seconds of one node's time. */
const maxLooked = 50_000

/**
 * One page of a list whose rows stand in a partition for each day: walks the days backwards and stops as soon as the
 * page is full. Days are asked for several at once, since most may be empty and cost a round trip each.
 * @param read rows of one day before a position, newest first, at most `limit`: fewer mean that the day has no more
 * Throws KolbakError `history_too_wide` when too many rows that do not count stand before the end of the page.
 * @param check those of the rows that count, in their order
 */
export async function newestFirst<R extends Position>(options: {
  range: Range
  limit: number
  read(day: string, range: Range, limit: number): Promise<R[]>
  check(rows: readonly R[]): Promise<Delivery[]>
}): Promise<Delivery[]> {
  const { range, limit, read, check } = options
  const found: Delivery[] = []
  if (limit < 1) return found
  let looked = 0
  for (const days of groupsOfDays(range)) {
    const firsts = await Promise.all(days.map((day) => read(day, range, limit)))
    for (const [i, day] of days.entries()) {
      let rows = firsts[i] ?? []
      for (let chunk = limit; ; ) {
        looked += rows.length
        if (looked > maxLooked + limit)
          throw new KolbakError(
            'history_too_wide',
            'Too few of the deliveries in this range are of that kind: narrow it by `since` and `until`.',
          )
        found.push(...(await check(rows)))
        if (found.length >= limit) return found.slice(0, limit)
        const last = rows.at(-1)
        if (last === undefined || rows.length < chunk) break
        chunk = Math.max(limit, Math.min(chunk * 2, maxChunk))
        rows = await read(day, { ...range, before: last }, chunk)
      }
    }
  }
  return found
}

/** The days of the range, newest first: few in the first group, where the page most often ends, and more in the others. */
function* groupsOfDays({ since, before }: Range): Generator<string[]> {
  let group: string[] = []
  let size = 2
  const oldest = Math.floor(since / dayMs)
  for (let day = Math.floor(before.at / dayMs); day >= oldest; day--) {
    group.push(new Date(day * dayMs).toISOString().slice(0, 10))
    if (group.length < size) continue
    yield group
    group = []
    size = Math.min(size * 2, 16)
  }
  if (group.length > 0) yield group
}

/**
 * The range of a query. A clock that is ahead of ours may have written what is to come within a day.
 * @param oldest nothing older is there
 */
export function rangeOf(
  query: { since?: string; until?: string; after?: { at: string; delivery: string } },
  { oldest, now = Date.now() }: { oldest: number; now?: number },
): Range {
  const ends: Position[] = [{ at: now + dayMs, delivery: '' }]
  if (query.until !== undefined) ends.push({ at: timeOf(query.until), delivery: '' }) // no id is less than ''
  if (query.after !== undefined) ends.push({ at: timeOf(query.after.at), delivery: query.after.delivery })
  const before = ends.reduce((a, b) => (b.at < a.at || (b.at === a.at && b.delivery < a.delivery) ? b : a))
  return { since: Math.max(oldest, query.since === undefined ? oldest : timeOf(query.since)), before }
}

function timeOf(text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new RangeError('a time of the query is not RFC 3339')
  return ms
}
