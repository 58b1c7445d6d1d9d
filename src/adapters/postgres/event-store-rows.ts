import { type Checkpoint, objectOf, type RecordedEvent } from '../../events/envelope.ts'

/** An event as its table stores it. */
export interface EventRow {
  readonly position: bigint | string
  readonly id: string
  readonly revision: number
  readonly stream: string
  readonly type: string
  readonly data: string
  readonly metadata: string
  /** True for a first success. Only subscriptions read it. */
  readonly in_history?: boolean
}
/** An event and its size in bytes. */
export interface SizedEvent {
  readonly event: RecordedEvent
  readonly bytes: number
}

/** Returns the checkpoint of a position. It has 19 digits, enough for every bigint, with leading zeros, so that checkpoints compare as texts. */
export const toCheckpoint = (position: bigint | string): Checkpoint => String(position).padStart(19, '0') as Checkpoint

export const toRecordedEvent = (row: EventRow): RecordedEvent =>
  ({
    id: row.id,
    type: row.type,
    data: objectOf(JSON.parse(row.data)),
    metadata: objectOf(JSON.parse(row.metadata)),
    stream: row.stream,
    revision: row.revision,
    position: toCheckpoint(row.position),
    ...(row.in_history === true ? { in_history: true } : {}),
  }) as RecordedEvent
