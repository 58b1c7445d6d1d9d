import type { Checkpoint, NewEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import { dayOfStream, isDayStream, type StreamName } from '../../events/streams.ts'
import { textSeparator } from '../../lib/joined-texts.ts'
import { EventRefused, EventTooLarge, type ExpectedRevision } from '../../ports/event-store.ts'
import type { Ask } from './event-store-query.ts'
import { type SizedEvent, toCheckpoint } from './event-store-rows.ts'
import { type FirstSuccess, firstSuccessOf } from './first-successes.ts'

/** One encoded append. Several items are written as one group. */
export interface AppendItem {
  readonly stream: StreamName
  /** The day of a day stream, or null. */
  readonly day: string | null
  /** A revision, or one of `expectedCodes`. */
  readonly expected: number
  readonly events: readonly NewEvent[]
  readonly ids: readonly EventId[]
  readonly data: readonly string[]
  readonly metadata: readonly string[]
  /** For each event, its columns as a first success, or null if it is none. */
  readonly firstSuccesses: readonly (FirstSuccess | null)[]
  readonly bytes: number
}
export type AppendOutcome =
  | { readonly kind: 'appended'; readonly revision: number; readonly position: Checkpoint; readonly isRepeat: boolean }
  | { readonly kind: 'conflict'; readonly actual: number }
  | { readonly kind: 'refused' }

/** The most bytes of one append. Every adapter has this limit, because it is the limit of EventStoreDB. */
export const maxAppendBytes = 1 << 20
/** Bytes that each event counts for in addition to its texts, so that an append holds at most 8,192 events. */
const eventOverhead = 128
/** The codes of the SQL function append_events. */
export const expectedCodes = { none: -1, any: -2, some: -3 } as const

function expectedCode(expected: ExpectedRevision): number {
  if (typeof expected === 'string') return expectedCodes[expected]
  if (!Number.isInteger(expected) || expected < -1) throw new RangeError(`not a revision: ${expected}`)
  return expected
}

/**
 * Checks and encodes an append. Throws EventTooLarge, or EventRefused for an event that Postgres would store with changes.
 * @param keepsHistory whether the delivery log reads first successes from the events
 */
export function encodeAppend(
  stream: StreamName,
  events: readonly NewEvent[],
  expected: ExpectedRevision,
  keepsHistory = false,
): AppendItem {
  if (events.length === 0) throw new EventRefused(`stream ${stream}: the append has no events`)
  if (new Set(events.map((event) => event.id)).size < events.length)
    throw new EventRefused(`stream ${stream}: the append holds an event id twice`)
  for (const text of [stream, ...events.map((event) => event.type)])
    if (text.includes(textSeparator) || !text.isWellFormed())
      throw new EventRefused(`stream ${stream}: a name holds a separator or a lone surrogate`)
  // A text of Postgres can contain neither NUL nor lone surrogates, but JSON.stringify writes both as ASCII escapes.
  const data = events.map((event) => JSON.stringify(event.data))
  const metadata = events.map((event) => JSON.stringify(event.metadata))
  let bytes = 0
  for (const text of data) bytes += Buffer.byteLength(text) + eventOverhead
  for (const text of metadata) bytes += Buffer.byteLength(text)
  if (bytes > maxAppendBytes)
    throw new EventTooLarge(`stream ${stream}: an append of ${bytes} bytes is larger than the limit of ${maxAppendBytes}`)
  return {
    stream,
    day: isDayStream(stream) ? dayOfStream(stream) : null,
    expected: expectedCode(expected),
    events,
    ids: events.map((event) => event.id),
    data,
    metadata,
    firstSuccesses: events.map((event) => (keepsHistory ? firstSuccessOf(stream, event) : null)),
    bytes,
  }
}

/** Returns an array literal. pg would escape each element, which costs ten times as much (measured). */
export const arrayLiteral = (values: readonly (string | number)[]) => `{${values.join()}}`
const joined = (items: readonly AppendItem[], textsOf: (item: AppendItem) => readonly string[]) =>
  items.map((item) => textsOf(item).join(textSeparator)).join(textSeparator)

/** Returns parameters of the two SQL functions that append: for all events their ids, types, data, metadata and columns as first successes. */
export const eventParameters = (items: readonly AppendItem[]) => [
  arrayLiteral(items.flatMap((item) => item.ids)),
  joined(items, (item) => item.events.map(({ type }) => type)),
  joined(items, (item) => item.data),
  joined(items, (item) => item.metadata),
  arrayLiteral(items.flatMap((item) => item.firstSuccesses.map((success) => success?.delivery ?? 'NULL'))),
  arrayLiteral(items.flatMap((item) => item.firstSuccesses.map((success) => success?.accepted_at ?? 'NULL'))),
]

/** Returns the distinct streams of items with their days, and for each item the index (from 1) of its stream. */
export function streamsOf(items: readonly AppendItem[]): { names: StreamName[]; days: string[]; itemStreams: number[] } {
  const indexes = new Map<StreamName, number>()
  const days: string[] = []
  const itemStreams = items.map((item) => {
    let index = indexes.get(item.stream)
    if (index === undefined) {
      index = indexes.size + 1
      indexes.set(item.stream, index)
      if (item.day !== null) days.push(item.day)
    }
    return index
  })
  return { names: [...indexes.keys()], days, itemStreams }
}

/** Writes items in one statement. Either all items are appends to command streams, or all are appends to day streams. */
export async function writeAppends(ask: Ask, items: readonly AppendItem[]): Promise<AppendOutcome[]> {
  const { names, days, itemStreams } = streamsOf(items)
  const rows = await ask<{ outcomes: string }>({
    name: 'event-store-append',
    text: 'select append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) as outcomes',
    values: [
      names.join(textSeparator),
      days.length === 0 ? null : arrayLiteral(days),
      arrayLiteral(itemStreams),
      arrayLiteral(items.map((item) => item.expected)),
      arrayLiteral(items.map((item) => item.ids.length)),
      arrayLiteral(items.flatMap((item, i) => item.ids.map(() => i + 1))),
      arrayLiteral(items.flatMap((item) => item.ids.map((_, ordinal) => ordinal))),
      ...eventParameters(items),
    ],
  })
  return rows[0]!.outcomes.split(',').map(parseOutcome)
}

/**
 * Returns the events that one call has appended, as a reader would get them, with consecutive positions. Returns none if an item was refused (its
 * positions stay empty) or repeats an earlier append (its events have earlier positions).
 */
export function recordedEvents(items: readonly AppendItem[], outcomes: readonly AppendOutcome[]): SizedEvent[] {
  const recorded: SizedEvent[] = []
  for (const [i, item] of items.entries()) {
    const outcome = outcomes[i]
    if (outcome?.kind !== 'appended' || outcome.isRepeat) return []
    const last = item.events.length - 1
    const first = BigInt(outcome.position) - BigInt(last)
    item.events.forEach(({ id, type, data, metadata }, k) => {
      const place = { stream: item.stream, revision: outcome.revision - last + k, position: toCheckpoint(first + BigInt(k)) }
      const history = item.firstSuccesses[k] == null ? {} : ({ in_history: true } as const)
      recorded.push({ event: { id, type, data, metadata, ...place, ...history }, bytes: item.bytes / item.events.length })
    })
  }
  return recorded
}

function parseOutcome(text: string): AppendOutcome {
  const [kind, revision, position, repeat] = text.split(':')
  if (kind === 'a')
    return { kind: 'appended', revision: Number(revision), position: toCheckpoint(position!), isRepeat: repeat !== undefined }
  return kind === 'c' ? { kind: 'conflict', actual: Number(revision) } : { kind: 'refused' }
}
