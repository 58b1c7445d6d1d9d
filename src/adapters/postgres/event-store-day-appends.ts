/**
 * Fast appends to day streams.
 *
 * Most events record attempts. `writeAppends` looks up the last revision of each stream and every event id before it inserts, and these
 * look-ups are half of its cost (Postgres needs 108 us for each event). Here the process remembers the last revisions and inserts at once
 * (58 us). A remembered revision is wrong if another process has appended to the stream, and an event may be a repeat. In both cases a unique
 * index refuses the insert. Then nothing is stored, the revisions are forgotten, and `writeAppends` decides.
 *
 * Two rules keep this safe and cheap:
 * - The revisions are valid only until the server restarts, and the statement fails after a restart. Otherwise a server that was restored
 *   to an older state would get a gap in a stream.
 * - After a refusal, `writeAppends` writes all appends for a minute, because another process probably appends to the same streams.
 */
import { LRUCache } from 'lru-cache'
import pg from 'pg'
import type { StreamName } from '../../events/streams.ts'
import { textSeparator } from '../../lib/joined-texts.ts'
import {
  type AppendItem,
  type AppendOutcome,
  arrayLiteral,
  eventParameters,
  expectedCodes,
  streamsOf,
  writeAppends,
} from './event-store-append.ts'
import type { Ask } from './event-store-query.ts'
import { toCheckpoint } from './event-store-rows.ts'

/** The most streams whose last revision a process remembers. */
const maxStreams = 50_000
/** Milliseconds after a refusal for which `writeAppends` writes all appends. */
const cautiousMs = 60_000

/** @param now milliseconds of a clock that never goes back */
export function createDayAppends(
  ask: Ask,
  now: () => number = () => performance.now(),
): (items: readonly AppendItem[]) => Promise<AppendOutcome[]> {
  const revisions = createRevisions(ask)
  let cautiousUntil = 0

  const writeFast = async (items: readonly AppendItem[]): Promise<AppendOutcome[]> => {
    const { names, days, itemStreams } = streamsOf(items)
    const { heads, serverStart } = await revisions.of(names, days)
    const eventRevisions: number[] = []
    const eventStreams: number[] = []
    const lastEvents = items.map((item, i) => {
      const stream = itemStreams[i]!
      for (const _ of item.ids) {
        eventStreams.push(stream)
        eventRevisions.push(++heads[stream - 1]!)
      }
      return { count: eventRevisions.length, revision: heads[stream - 1]! }
    })
    const rows = await ask<{ first: bigint }>({
      name: 'event-store-append-at-revisions',
      text: 'select append_at_revisions($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as first',
      values: [
        serverStart,
        names.join(textSeparator),
        arrayLiteral(days),
        arrayLiteral(eventStreams),
        arrayLiteral(eventRevisions),
        ...eventParameters(items),
      ],
    })
    revisions.remember(names, heads)
    const before = BigInt(rows[0]!.first) - 1n
    return lastEvents.map(({ count, revision }) => ({
      kind: 'appended',
      revision,
      position: toCheckpoint(before + BigInt(count)),
      isRepeat: false,
    }))
  }
  return async (items) => {
    if (now() < cautiousUntil || items.some((item) => item.expected !== expectedCodes.any)) return writeAppends(ask, items)
    try {
      return await writeFast(items)
    } catch (error) {
      revisions.forget()
      if (!isRefusal(error)) throw error
      cautiousUntil = now() + cautiousMs
      return writeAppends(ask, items)
    }
  }
}

/** Returns whether the error is a unique violation, or says that the server was restarted. */
const isRefusal = (error: unknown) => error instanceof pg.DatabaseError && (error.code === '23505' || error.code === '55000')

/** Remembers the last revisions of day streams, for one start of the server. */
function createRevisions(ask: Ask) {
  const remembered = new LRUCache<StreamName, number>({ max: maxStreams })
  let serverStart: string | undefined
  const forget = () => {
    remembered.clear()
    serverStart = undefined
  }
  /** Returns the last revision of each stream, or -1 for a stream without events. Reads the revisions that are not remembered. */
  const headsOf = async (
    names: readonly StreamName[],
    days: readonly string[],
  ): Promise<{ heads: number[]; serverStart: string | undefined }> => {
    const heads = names.map((name) => (serverStart === undefined ? undefined : remembered.get(name)))
    const unremembered = names.flatMap((_, i) => (heads[i] === undefined ? [i] : []))
    if (unremembered.length > 0) {
      const [row] = await ask<{ started: string; heads: number[] }>({
        name: 'event-store-day-heads',
        text: 'select * from day_heads($1, $2)',
        values: [unremembered.map((i) => names[i]!).join(textSeparator), arrayLiteral(unremembered.map((i) => days[i]!))],
      })
      if (serverStart !== undefined && row!.started !== serverStart) {
        forget()
        return headsOf(names, days)
      }
      serverStart = row!.started
      for (const [k, i] of unremembered.entries()) heads[i] = row!.heads[k]!
    }
    return { heads: heads as number[], serverStart }
  }
  return {
    of: headsOf,
    forget,
    remember(names: readonly StreamName[], heads: readonly number[]) {
      for (const [i, name] of names.entries()) remembered.set(name, heads[i]!)
    },
  }
}
