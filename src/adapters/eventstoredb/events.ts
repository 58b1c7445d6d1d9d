import type { RecordedEvent as ClientEvent } from '@eventstore/db-client'
import { type Checkpoint, type NewEvent, objectOf, type RecordedEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import type { StreamName } from '../../events/streams.ts'
import { isUuid } from '../../events/uuid.ts'
import { EventRefused, EventTooLarge, type ExpectedRevision } from '../../ports/event-store.ts'
import { type EncodedEvent, encodeEvent, type WireEvent } from './wire.ts'

/** One append, encoded. */
export interface AppendItem {
  readonly stream: StreamName
  readonly expected: ExpectedRevision
  readonly ids: readonly EventId[]
  readonly events: readonly NewEvent[]
  /** The events as an append sends them. */
  readonly encoded: readonly EncodedEvent[]
  /** The bytes that the server counts, plus `eventOverhead` for each event. */
  readonly bytes: number
}

/** The server's default limit for one append. */
export const maxAppendBytes = 1 << 20
/**
 * Bytes that each event counts for in addition to its texts, so that an append holds at most 8,192 events. The adapter of Postgres uses
 * the same number.
 */
const eventOverhead = 128

/**
 * Returns the checkpoint of a commit position. The checkpoint has leading zeros, so that checkpoints compare as texts: 20 digits hold every
 * unsigned 64-bit number.
 */
export const toCheckpoint = (commit: bigint): Checkpoint => String(commit).padStart(20, '0') as Checkpoint

/** Checks and encodes an append. Throws EventTooLarge, or EventRefused for an event that the server would refuse or change. */
export function encodeAppend(stream: StreamName, events: readonly NewEvent[], expected: ExpectedRevision): AppendItem {
  if (events.length === 0) throw new EventRefused(`stream ${stream}: the append has no events`)
  if (typeof expected === 'number' && (!Number.isInteger(expected) || expected < -1)) throw new RangeError(`not a revision: ${expected}`)
  const ids = events.map((event) => event.id)
  if (new Set(ids).size < ids.length) throw new EventRefused(`stream ${stream}: the append holds an event id twice`)
  if (!ids.every((id) => isUuid(id))) throw new EventRefused(`stream ${stream}: an event id is not a UUID`)
  if (![stream, ...events.map((event) => event.type)].every((name) => name.isWellFormed()))
    throw new EventRefused(`stream ${stream}: a name holds a lone surrogate`)
  const encoded = events.map(encodeEvent)
  let bytes = 0
  for (const [i, { data, metadata }] of encoded.entries())
    bytes += data.length + metadata.length + 2 * events[i]!.type.length + eventOverhead
  if (bytes > maxAppendBytes) throw new EventTooLarge(`stream ${stream}: the append has ${bytes} bytes, and the limit is ${maxAppendBytes}`)
  return { stream, expected, ids, events, encoded, bytes }
}

/** Joins as many items as fit into one append, beginning with the first. `count` is the number of joined items. */
export function joinItems(items: readonly AppendItem[], expected: ExpectedRevision): { item: AppendItem; count: number } {
  const [first] = items as [AppendItem]
  let bytes = 0
  let count = 0
  while (count < items.length && (count === 0 || bytes + items[count]!.bytes <= maxAppendBytes)) bytes += items[count++]!.bytes
  const joined = items.slice(0, count)
  const item: AppendItem = {
    stream: first.stream,
    expected,
    ids: joined.flatMap(({ ids }) => ids),
    events: joined.flatMap(({ events }) => events),
    encoded: joined.flatMap(({ encoded }) => encoded),
    bytes,
  }
  return { item, count }
}

/** Returns the JSON in these bytes, or undefined when they are no JSON. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined // another application has stored the event
  }
}
/** @param own the event, if this process has appended it with the same bytes */
export function fromWire({ id, stream, revision, commit, type, data, metadata }: WireEvent, own: NewEvent | undefined): RecordedEvent {
  return {
    id,
    type,
    data: own?.data ?? objectOf(parseJson(data)),
    metadata: own?.metadata ?? objectOf(parseJson(metadata)),
    stream: stream as StreamName,
    revision,
    position: toCheckpoint(commit),
  } as RecordedEvent
}

export function toRecordedEvent(event: ClientEvent): RecordedEvent {
  if (event.position === undefined) throw new Error('the event store needs EventStoreDB 22.6 or later: this server returns no positions')
  return {
    id: event.id,
    type: event.type,
    data: objectOf(event.data),
    metadata: objectOf(event.metadata),
    stream: event.streamId,
    revision: Number(event.revision),
    position: toCheckpoint(event.position.commit),
  } as RecordedEvent
}
