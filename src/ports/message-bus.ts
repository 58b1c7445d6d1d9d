import type { Place } from '../events/ids.ts'
import { encodeRecord, type MessageRecord } from '../events/message-record.ts'

export interface BusRecord {
  readonly offset: bigint
  /** An encoded MessageRecord. The consumer decodes it, and quarantines what cannot be decoded. */
  readonly bytes: Buffer
}

/** A partition while this process has it. */
export interface OwnedPartition {
  readonly partition: number
  /** Aborts when the partition is lost: nothing of it may be started any more; what is in flight finishes. */
  readonly lost: AbortSignal
  /** Whether it is certainly still ours, by this process's own monotonic clock: asked before each request. */
  held(): boolean
  /** The next records in order of offset, at most `max`; waits for some, and answers [] when lost or after a while. */
  fetch(max: number): Promise<BusRecord[]>
}

/**
 * The queue of accepted messages: partitions of records, each record under an offset that only grows.
 *
 * Durability: a produce that has resolved survives a crash of any process and of the engine.
 * Order: offsets grow within a partition; between partitions, and of messages, no order is promised.
 * At-least-once: one owner a partition at a time, but a new owner starts at the saved offset, so that records come again.
 * Offsets are not kept here: the consumer saves them (`dispatch/offsets`) and is asked for them.
 */
export interface MessageBus {
  /** Names the engine; a part of each place. No `/` in it. */
  readonly identity: string
  /**
   * Durable when it resolves, with the record's place (index 0). Concurrent records are written together.
   * Throws BusFull (try again later), RecordTooLarge, or BusUnavailable (whether it was stored is unknown).
   */
  produce(record: MessageRecord): Promise<Place>
  /**
   * Joins the group of consumers. `own` runs for each partition given to this process and returns when it has let go of
   * it; `startAt` gives the offset to begin at (saved, or 0). Resolves when the signal has aborted and all `own` returned.
   */
  consume(options: {
    startAt(partition: number): Promise<bigint>
    own(partition: OwnedPartition): Promise<void>
    signal: AbortSignal
  }): Promise<void>
  /** Records that are not done, for each partition. @param saved the first offset not done, else 0 */
  lag(saved: ReadonlyMap<number, bigint>): Promise<ReadonlyMap<number, number>>
  /** For each partition the offset after the last record that has been stored: what is saved never lies beyond it. */
  ends(): Promise<ReadonlyMap<number, bigint>>
  close(): Promise<void>
}

/** More is waiting to be written than the bound allows. */
export class BusFull extends Error {
  readonly code = 'bus_full'
}
/** A record above the limit of every adapter. */
export class RecordTooLarge extends Error {
  readonly code = 'record_too_large'
}
export const maxRecordBytes = 2 << 20
/** The bytes of a record as every bus carries them. Throws RecordTooLarge. */
export function bytesOfRecord(record: MessageRecord): Buffer {
  const bytes = encodeRecord(record)
  if (bytes.length > maxRecordBytes) throw new RecordTooLarge(`a record of ${bytes.length} bytes: at most ${maxRecordBytes} are allowed`)
  return bytes
}
export class BusUnavailable extends Error {
  readonly code = 'bus_unavailable'
}
