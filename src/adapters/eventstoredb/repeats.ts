import type { RecordedEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import { step } from '../../events/steps.ts'
import type { StreamName } from '../../events/streams.ts'
import { pause } from '../../lib/retry.ts'
import { type Appended, RevisionConflict, StoreUnavailable } from '../../ports/event-store.ts'
import type { Appender } from './append.ts'
import type { Engine } from './engine.ts'
import { type AppendItem, joinItems } from './events.ts'
import { readStream } from './read.ts'
import { readableMs } from './readable.ts'

/** Describes an append that may have been stored already: it names the part of the stream to search for the events. */
export interface Doubt {
  /** RFC 3339 time before which the append was not stored. */
  readonly since: string
  /** The revision after which the append was stored, or undefined if this is unknown. */
  readonly above?: number | undefined
}

/** Milliseconds by which the clocks of processes may differ. The search in a stream begins this much earlier than `since`. */
const clockSkewMs = 60_000
const pageSize = 250

/**
 * Appends events that may be in the stream already, so that each event is stored once. The end of the stream is searched for the ids of
 * the events, and the missing events are appended at the exact revision that the search has seen. If another writer appends in between,
 * there is a conflict, and the search is repeated.
 *
 * The server itself recognises a repeat of an `any` append only while a cache in the memory of its leader holds the ids. After a restart or
 * a change of leader the server stores the events a second time (in 10 of 10 tries on a real cluster).
 *
 * @param items appends to one stream that expect `any` or `some`, each with its doubt
 * @param end the time of `performance.now()` at which the appends fail
 * @returns one outcome for each item
 */
export async function appendOnce(
  engine: Engine,
  appender: Appender,
  items: readonly { readonly item: AppendItem; readonly doubt: Doubt }[],
  end: number,
): Promise<PromiseSettledResult<Appended>[]> {
  const stream = items[0]!.item.stream
  const storedEvents = new Map<EventId, RecordedEvent>()
  const ids = new Set(items.flatMap(({ item }) => item.ids))
  const remember = (events: readonly RecordedEvent[]) => {
    for (const event of events) if (ids.has(event.id)) storedEvents.set(event.id, event)
  }
  const outcomes = new Map<AppendItem, PromiseSettledResult<Appended>>()
  let lastRevision: number | null = null
  /** The revision that the last conflict reported, and the time until which reads may not show it yet. */
  let conflict = { revision: -1, readableBy: 0 }
  try {
    for (;;) {
      if (lastRevision === null)
        lastRevision = await readTail(
          engine,
          stream,
          items.map(({ doubt }) => doubt),
          remember,
          end,
        )
      else lastRevision = await readOn(engine, stream, lastRevision, remember, end)
      const missing: AppendItem[] = []
      for (const { item } of items) {
        if (outcomes.has(item)) continue
        const last = storedEvents.get(item.ids.at(-1)!)
        if (last !== undefined) outcomes.set(item, fulfilled({ revision: last.revision, position: last.position }))
        else if (item.expected === 'some' && lastRevision < 0)
          outcomes.set(item, { status: 'rejected', reason: new RevisionConflict(stream, 'some', -1) })
        else missing.push(item)
      }
      if (missing.length === 0) break
      if (lastRevision < conflict.revision) {
        if (performance.now() < conflict.readableBy) {
          await pause(2 + Math.random() * 10)
          continue
        }
        lastRevision = conflict.revision // the event is older than the age limit, so no read ever returns it
      }
      const next = joinItems(missing, lastRevision < 0 ? 'none' : lastRevision)
      try {
        const last = await step('eventstoredb.repeat', () => appender.append(next.item, { end }))
        let revision = last.revision - next.item.ids.length
        for (const item of missing.slice(0, next.count)) {
          revision += item.ids.length
          outcomes.set(item, fulfilled({ revision, position: last.position }))
        }
        lastRevision = last.revision
      } catch (error) {
        if (!(error instanceof RevisionConflict)) throw error
        if (performance.now() > end)
          throw new StoreUnavailable('other writers appended to the stream at every try: try again', { cause: error })
        conflict = { revision: error.actual, readableBy: performance.now() + readableMs }
        await pause(2 + Math.random() * 10)
      }
    }
  } catch (reason) {
    return items.map(({ item }) => outcomes.get(item) ?? { status: 'rejected', reason })
  }
  return items.map(({ item }) => outcomes.get(item)!)
}

const fulfilled = (value: Appended): PromiseSettledResult<Appended> => ({ status: 'fulfilled', value })

/** Reads backwards as far as the doubts require. Returns the last revision of the stream, or -1 when it is empty. */
async function readTail(
  engine: Engine,
  stream: StreamName,
  doubts: readonly Doubt[],
  remember: (events: readonly RecordedEvent[]) => void,
  end: number,
): Promise<number> {
  const aboves = doubts.map(({ above }) => above)
  const above = aboves.every((revision) => revision !== undefined) ? Math.min(...aboves) : -1
  const since = new Date(Math.min(...doubts.map((doubt) => Date.parse(doubt.since))) - clockSkewMs).toISOString()
  let last = -1
  let from: number | undefined
  for (;;) {
    const page = await readStream(engine, stream, { backwards: true, limit: pageSize, end, ...(from === undefined ? {} : { from }) })
    remember(page)
    if (from === undefined) last = page[0]?.revision ?? -1
    const oldest = page.at(-1)
    if (page.length < pageSize || oldest === undefined || oldest.revision - 1 <= above || oldest.metadata.time < since) return last
    from = oldest.revision - 1
  }
}

/** Reads the events after a revision. Returns the last revision of the stream. */
async function readOn(
  engine: Engine,
  stream: StreamName,
  seen: number,
  remember: (events: readonly RecordedEvent[]) => void,
  end: number,
): Promise<number> {
  const events = await readStream(engine, stream, { from: seen + 1, end })
  remember(events)
  return events.at(-1)?.revision ?? seen
}
