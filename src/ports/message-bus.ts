import type { Place } from '../events/ids.ts'
import { encodeRecord, type MessageRecord } from '../events/message-record.ts'
import type { MessageRef } from '../events/refs.ts'

export interface BusRecord {
  readonly offset: bigint
  /** An encoded MessageRecord. The consumer decodes it, and quarantines what it cannot decode. */
  readonly bytes: Buffer
}

/** A partition while this process owns it. */
export interface OwnedPartition {
  readonly partition: number
  /** Aborts when the partition is lost: nothing of it may be started any more, what is in flight finishes. */
  readonly lost: AbortSignal
  /** Whether ownership is certain now, by this process's own monotonic clock. Checked before each request. */
  isHeld(): boolean
  /** Returns the next records in the order of their offsets, at most `max`. Waits for some, and returns [] when lost or after a while. */
  fetch(max: number): Promise<BusRecord[]>
}

/**
 * The queue of accepted messages: partitions of records.
 *
 * Durability: a produce that has resolved survives a crash of any process and of the engine.
 * Offsets: within a partition they grow in the order of the records, from 0 or later. They may have gaps. The consumer starts again
 * at the last done offset + 1, whether or not a record has it.
 * Order: between partitions, and of messages, no order is promised. `produce` chooses the partition.
 * Ownership: the adapter divides the partitions among the processes that consume (`KOLBAK_PARTITIONS` of them, numbered from 0), so
 * that one process owns a partition at a time. Leases (`lib/leases`) do this for an engine that has no groups of its own.
 * At-least-once: a new owner starts at the saved offset, so that records come again.
 * Saved offsets are not kept here: the consumer saves them (`dispatch/offsets`) and is asked for them.
 */
export interface MessageBus {
  /** Names the engine, and begins every place. Holds no `/`. */
  readonly identity: string
  /**
   * Stores a record, and returns its place (with index 0) once it is durable. Concurrent records are written together.
   * Throws BusFull (try again later), RecordTooLarge, or BusUnavailable (whether it was stored is unknown).
   */
  produce(record: MessageRecord): Promise<Place>
  /**
   * Joins the group of consumers. Calls `own` for each partition that this process is given. `own` returns when it has let go of the
   * partition, soon after `lost`. `startAt` returns the saved offset to start at, or 0. Resolves when the signal has aborted and every
   * `own` has returned.
   */
  consume(options: {
    startAt(partition: number): Promise<bigint>
    own(partition: OwnedPartition): Promise<void>
    signal: AbortSignal
  }): Promise<void>
  /** Returns for each partition how many records are not done. @param saved the first offset not done of each partition, else 0 */
  lag(saved: ReadonlyMap<number, bigint>): Promise<ReadonlyMap<number, number>>
  /** Returns for each partition the offset after its last record. A saved offset never lies beyond it. */
  ends(): Promise<ReadonlyMap<number, bigint>>
  /**
   * Reads the sealed bodies of messages from the records at their places, in the order of the refs. Null: the record has expired.
   * A bus has this function only if it keeps its records for the whole retention time and finds each by its place: then a delivery log
   * on Postgres uses it instead of an archive of its own. Without it, that log archives every body.
   */
  readBodies?(refs: readonly MessageRef[]): Promise<(Buffer | null)[]>
  close(): Promise<void>
}

/** More records wait to be written than the bound allows. */
export class BusFull extends Error {
  readonly code = 'bus_full'
}
/** The record exceeds the limit of every adapter. */
export class RecordTooLarge extends Error {
  readonly code = 'record_too_large'
}
export const maxRecordBytes = 2 << 20
/** Returns the bytes of a record as every bus carries them. Throws RecordTooLarge. */
export function bytesOfRecord(record: MessageRecord): Buffer {
  const bytes = encodeRecord(record)
  if (bytes.length > maxRecordBytes) throw new RecordTooLarge(`a record of ${bytes.length} bytes: at most ${maxRecordBytes} are allowed`)
  return bytes
}
/** The engine did not answer as it should: whether the record was stored is unknown. */
export class BusUnavailable extends Error {
  readonly code = 'bus_unavailable'
}
