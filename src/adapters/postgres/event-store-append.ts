import { LRUCache } from 'lru-cache'
import pg from 'pg'
import type { Checkpoint, NewEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import { dayOfStream, isDayStream, type StreamName } from '../../events/streams.ts'
import { separator } from '../../lib/sql.ts'
import { EventRefused, EventTooLarge, type ExpectedRevision } from '../../ports/event-store.ts'
import type { Ask } from './event-store-query.ts'
import type { Remembered } from './event-store-tail.ts'

/** One append, encoded: what a group is made of. */
export interface AppendItem {
  readonly stream: StreamName
  /** Of a day stream, else null. */
  readonly day: string | null
  /** A revision, or one of the codes of the function append_events. */
  readonly expected: number
  readonly events: readonly NewEvent[]
  readonly ids: readonly EventId[]
  readonly data: readonly string[]
  readonly metadata: readonly string[]
  readonly bytes: number
}
export type AppendOutcome =
  | { readonly kind: 'appended'; readonly revision: number; readonly position: Checkpoint; readonly isRepeat: boolean }
  | { readonly kind: 'conflict'; readonly actual: number }
  | { readonly kind: 'refused' }

/** The limit of every adapter, which is EventStoreDB's for one append. */
export const maxAppendBytes = 1 << 20
/** Counted for an event beside its texts, so that an append holds at most 8,192 events. */
const eventOverhead = 128
const expectedCodes = { none: -1, any: -2, some: -3 } as const
/** Streams whose last revision a process remembers. */
const rememberedStreams = 50_000
/** After a revision or an id was taken already, as when another process appends to the same streams, appends look first for so long. */
const cautiousMs = 60_000

/** A checkpoint is a position with leading zeros: 19 digits hold every bigint. */
export const toCheckpoint = (position: bigint | string): Checkpoint => String(position).padStart(19, '0') as Checkpoint

function expectedCode(expected: ExpectedRevision): number {
  if (typeof expected === 'string') return expectedCodes[expected]
  if (!Number.isInteger(expected) || expected < -1) throw new RangeError(`not a revision: ${expected}`)
  return expected
}

/** Checks and encodes an append. Throws EventTooLarge, or EventRefused for what Postgres would take and change. */
export function encodeAppend(stream: StreamName, events: readonly NewEvent[], expected: ExpectedRevision): AppendItem {
  if (events.length === 0) throw new EventRefused(`stream ${stream}: an append without events`)
  if (new Set(events.map((event) => event.id)).size < events.length)
    throw new EventRefused(`stream ${stream}: one append holds an event id twice`)
  for (const text of [stream, ...events.map((event) => event.type)])
    if (text.includes(separator) || !text.isWellFormed())
      throw new EventRefused(`stream ${stream}: a name holds a separator or a lone surrogate`)
  // JSON.stringify writes NUL and lone surrogates as ASCII escapes: text of Postgres can hold neither.
  const data = events.map((event) => JSON.stringify(event.data))
  const metadata = events.map((event) => JSON.stringify(event.metadata))
  let bytes = 0
  for (const text of data) bytes += Buffer.byteLength(text) + eventOverhead
  for (const text of metadata) bytes += Buffer.byteLength(text)
  if (bytes > maxAppendBytes) throw new EventTooLarge(`stream ${stream}: an append of ${bytes} bytes, which is more than ${maxAppendBytes}`)
  return {
    stream,
    day: isDayStream(stream) ? dayOfStream(stream) : null,
    expected: expectedCode(expected),
    events,
    ids: events.map((event) => event.id),
    data,
    metadata,
    bytes,
  }
}

/** Literals of arrays and one text for many: pg escapes element by element, at ten times the cost (5.6 + 7.1 us a row). */
const array = (values: readonly (string | number)[]) => `{${values.join()}}`
const texts = (items: readonly AppendItem[], of: (item: AppendItem) => readonly string[]) =>
  items.map((item) => of(item).join(separator)).join(separator)

/** Of all events: ids, types, data, metadata. */
const eventValues = (items: readonly AppendItem[]) => [
  array(items.flatMap((item) => item.ids)),
  texts(items, (item) => item.events.map(({ type }) => type)),
  texts(items, (item) => item.data),
  texts(items, (item) => item.metadata),
]

/** The streams of items, each once, their days, and the index (from 1) of each item's. */
function streamsOf(items: readonly AppendItem[]) {
  const indexes = new Map<StreamName, number>()
  const days: string[] = []
  const ofItems = items.map((item) => {
    let index = indexes.get(item.stream)
    if (index === undefined) {
      index = indexes.size + 1
      indexes.set(item.stream, index)
      if (item.day !== null) days.push(item.day)
    }
    return index
  })
  return { names: [...indexes.keys()], days, ofItems }
}

/** Writes items of one lane as one statement: all of them are command streams, or all of them day streams. */
export async function writeAppends(ask: Ask, items: readonly AppendItem[]): Promise<AppendOutcome[]> {
  const { names, days, ofItems } = streamsOf(items)
  const rows = await ask<{ outcomes: string }>({
    name: 'event-store-append',
    text: 'select append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as outcomes',
    values: [
      names.join(separator),
      days.length === 0 ? null : array(days),
      array(ofItems),
      array(items.map((item) => item.expected)),
      array(items.map((item) => item.ids.length)),
      array(items.flatMap((item, i) => item.ids.map(() => i + 1))),
      array(items.flatMap((item) => item.ids.map((_, ordinal) => ordinal))),
      ...eventValues(items),
    ],
  })
  return rows[0]!.outcomes.split(',').map(parseOutcome)
}

/**
 * Writes items of day streams as one statement, mostly without looking streams and ids up: the last revisions are remembered,
 * and what is taken already a unique index refuses; then writeAppends decides. That costs half.
 * @param now milliseconds of a clock that never goes back
 */
export function createDayAppends(
  ask: Ask,
  now: () => number = () => performance.now(),
): (items: readonly AppendItem[]) => Promise<AppendOutcome[]> {
  const revisions = new LRUCache<StreamName, number>({ max: rememberedStreams })
  /** The start of the server from which they were learned. */
  let started: string | undefined
  let cautiousUntil = 0

  /** The last revisions of streams; those that are not remembered are asked for. */
  const headsOf = async (names: readonly StreamName[], days: readonly string[]): Promise<number[]> => {
    const heads = names.map((name) => (started === undefined ? undefined : revisions.get(name)))
    const unknown = names.flatMap((_, i) => (heads[i] === undefined ? [i] : []))
    if (unknown.length > 0) {
      const [row] = await ask<{ started: string; heads: number[] }>({
        name: 'event-store-day-heads',
        text: 'select * from day_heads($1, $2)',
        values: [unknown.map((i) => names[i]!).join(separator), array(unknown.map((i) => days[i]!))],
      })
      if (started !== undefined && row!.started !== started) {
        revisions.clear()
        started = undefined
        return headsOf(names, days)
      }
      started = row!.started
      for (const [k, i] of unknown.entries()) heads[i] = row!.heads[k]!
    }
    return heads as number[]
  }
  const write = async (items: readonly AppendItem[]): Promise<AppendOutcome[]> => {
    const { names, days, ofItems } = streamsOf(items)
    const heads = await headsOf(names, days)
    const eventRevisions: number[] = []
    const eventStreams: number[] = []
    const ends = items.map((item, i) => {
      const stream = ofItems[i]!
      for (const _ of item.ids) {
        eventStreams.push(stream)
        eventRevisions.push(++heads[stream - 1]!)
      }
      return { events: eventRevisions.length, revision: heads[stream - 1]! }
    })
    const rows = await ask<{ first: bigint }>({
      name: 'event-store-append-at-revisions',
      text: 'select append_at_revisions($1, $2, $3, $4, $5, $6, $7, $8, $9) as first',
      values: [started, names.join(separator), array(days), array(eventStreams), array(eventRevisions), ...eventValues(items)],
    })
    for (const [i, name] of names.entries()) revisions.set(name, heads[i]!)
    const before = BigInt(rows[0]!.first) - 1n
    return ends.map(({ events, revision }) => ({
      kind: 'appended',
      revision,
      position: toCheckpoint(before + BigInt(events)),
      isRepeat: false,
    }))
  }
  return async (items) => {
    if (now() < cautiousUntil || items.some((item) => item.expected !== expectedCodes.any)) return writeAppends(ask, items)
    try {
      return await write(items)
    } catch (error) {
      revisions.clear()
      started = undefined
      if (!isOutdated(error)) throw error
      cautiousUntil = now() + cautiousMs
      return writeAppends(ask, items)
    }
  }
}

/** A unique violation, or another server than the one that the revisions were learned from. */
const isOutdated = (error: unknown) => error instanceof pg.DatabaseError && (error.code === '23505' || error.code === '55000')

/**
 * What one call has appended, as it would be read: positions follow one another. Nothing where an item was refused, whose place
 * stays empty, or is a repeat, which stands elsewhere and as it came first.
 */
export function recordedOf(items: readonly AppendItem[], outcomes: readonly AppendOutcome[]): Remembered[] {
  const recorded: Remembered[] = []
  for (const [i, item] of items.entries()) {
    const outcome = outcomes[i]
    if (outcome?.kind !== 'appended' || outcome.isRepeat) return []
    const last = item.events.length - 1
    const first = BigInt(outcome.position) - BigInt(last)
    item.events.forEach(({ id, type, data, metadata }, k) => {
      const place = { stream: item.stream, revision: outcome.revision - last + k, position: toCheckpoint(first + BigInt(k)) }
      recorded.push({ event: { id, type, data, metadata, ...place }, bytes: item.bytes / item.events.length })
    })
  }
  return recorded
}

function parseOutcome(text: string): AppendOutcome {
  const [kind, revision, position, known] = text.split(':')
  if (kind === 'a')
    return { kind: 'appended', revision: Number(revision), position: toCheckpoint(position!), isRepeat: known !== undefined }
  return kind === 'c' ? { kind: 'conflict', actual: Number(revision) } : { kind: 'refused' }
}
