import type { Checkpoint } from '../events/envelope.ts'
import type { Place, WebhookId } from '../events/ids.ts'
import { encodeRecord, type MessageRecord } from '../events/message-record.ts'
import type { MessageRef } from '../events/refs.ts'

export interface BusRecord {
  readonly offset: bigint
  /** An encoded MessageRecord. The consumer decodes it, and quarantines a record that it cannot decode. */
  readonly bytes: Buffer
  /**
   * For each message of the record: its entry in the message index, if the statement that stored the record also wrote the entry, else null. Only the
   * process that produced the record gets these entries, once, and only if it has owned the partition since before the statement.
   */
  readonly entries?: readonly (IndexEntry | null)[]
}

/** The values of a message in the message index that its record and its place do not contain. */
export interface IndexEntry {
  readonly webhooks: readonly WebhookId[]
  /** The checkpoint of the projection `webhooks` at which the message was matched. */
  readonly matched_at: Checkpoint
}
/** Matches messages that are about to be stored, so that the bus can write them to the message index in the same statement. */
export interface Matcher {
  /** Returns the webhooks of each message of each record, or null if the records must be stored without entries. Throws nothing. */
  match(records: readonly MessageRecord[]): Match | null
  /** Called when the statement has found the read model still at the cursor. @param at the time just before the statement, by `performance.now()` */
  confirm(match: Match, at: number): void
}
export interface Match {
  readonly webhooks: readonly (readonly (readonly WebhookId[])[])[]
  readonly matched_at: Checkpoint
  /** The cursor of the read model `webhooks` that was matched with. The entries are written only if the read model still has this cursor. */
  readonly cursor: string
}

/** A partition while this process owns it. */
export interface OwnedPartition {
  readonly partition: number
  /** Aborts when the partition is lost. The owner must then start no further work on it, but finishes the work in flight. */
  readonly lost: AbortSignal
  /** Returns whether ownership is certain now, by this process's own monotonic clock. The owner checks it before each request. */
  isHeld(): boolean
  /**
   * Returns the next records in the order of their offsets, at most `max`. Waits for records. Returns [] when the partition is lost or no record
   * arrives for a short time.
   */
  fetch(max: number): Promise<BusRecord[]>
}

/**
 * The queue of accepted messages, which consists of partitions of records.
 *
 * Durability: a produce that has resolved survives a crash of any process and of the engine.
 * Offsets: within a partition, offsets rise in the order of the records. They begin at 0 or later and may have gaps. The consumer starts again at the
 * last done offset + 1, whether or not a record has that offset.
 * Order: no order is promised between partitions or between messages. `produce` chooses the partition.
 * Ownership: the adapter divides the partitions (`KOLBAK_PARTITIONS`, numbered from 0) among the processes that consume, so that one process
 * owns a partition at a time. An engine without consumer groups uses leases (`lib/lease-shares`) for this.
 * At-least-once: a new owner starts at the saved offset, so a record may be read again.
 * Saved offsets: the bus does not store them. The consumer saves them (`dispatch/offsets`) and returns them through `startAt`.
 */
export interface MessageBus {
  /**
   * Identifies the engine and its data: it changes when the same offsets may have other records, for example on another cluster. Every place begins
   * with it. It has no `/`.
   */
  readonly identity: string
  /**
   * Stores a record, and returns its place (with index 0) once it is durable. Concurrent records are written together.
   * Throws BusFull (try again later), RecordTooLarge, or BusUnavailable (it is unknown whether the record was stored).
   */
  produce(record: MessageRecord): Promise<Place>
  /**
   * Sets the matcher of this process, or removes it with null. A bus has this function only if it is in the database of the message index. While it
   * has a matcher, `produce` writes the record to a partition that this process owns, and its messages to the index, in one statement (decision 43).
   * A message whose id is in the index already gets no entry. If the read model of webhooks has changed since the match, no message gets an entry.
   * The record is stored in any case.
   */
  indexWith?(matcher: Matcher | null): void
  /**
   * Joins the group of consumers. Calls `own` for each partition that this process gets. `own` returns when it has stopped working on the
   * partition, soon after `lost`. `startAt` returns the saved offset to start at, or 0. Resolves when the signal has aborted and every
   * `own` has returned.
   */
  consume(options: {
    startAt(partition: number): Promise<bigint>
    own(partition: OwnedPartition): Promise<void>
    signal: AbortSignal
  }): Promise<void>
  /**
   * Returns for each partition the number of records that are not done. Offsets before the first record that is kept do not count.
   * @param saved the saved offset of each partition; 0 for a missing partition
   */
  lag(saved: ReadonlyMap<number, bigint>): Promise<ReadonlyMap<number, number>>
  /**
   * Returns the RFC 3339 time at which the oldest record that is not done was accepted, or null if every record is done. A bus has this function if it
   * finds that record without being a consumer.
   * @param saved the saved offset of each partition; 0 for a missing partition
   */
  oldest?(saved: ReadonlyMap<number, bigint>): Promise<string | null>
  /** Returns for each partition the offset after its last record, which no saved offset exceeds. */
  ends(): Promise<ReadonlyMap<number, bigint>>
  /**
   * Reads the sealed bodies of messages from the records at their places, in the order of the refs. The body is null when the record has expired, and
   * empty when it was erased. A bus has this function only if it keeps its records for the whole retention time and finds each one by its place. The delivery log on Postgres
   * then needs no separate archive. Without this function, the delivery log archives every body.
   */
  readBodies?(refs: readonly MessageRef[]): Promise<(Buffer | null)[]>
  /**
   * Rewrites the records at the places of the messages so that the bodies of these messages are empty, which is durable when this resolves. The other
   * messages of a record stay. A bus has this function only if it can change its records.
   */
  eraseBodies?(refs: readonly MessageRef[]): Promise<void>
  close(): Promise<void>
}

/** The error when more records wait to be written than the limit allows. */
export class BusFull extends Error {
  readonly code = 'bus_full'
}
/** The error for a record that exceeds the limit of every adapter. */
export class RecordTooLarge extends Error {
  readonly code = 'record_too_large'
}
export const maxRecordBytes = 2 << 20
/** Returns the encoded bytes of a record, which are the same on every bus. Throws RecordTooLarge. */
export function bytesOfRecord(record: MessageRecord): Buffer {
  const bytes = encodeRecord(record)
  if (bytes.length > maxRecordBytes) throw new RecordTooLarge(`a record of ${bytes.length} bytes: at most ${maxRecordBytes} are allowed`)
  return bytes
}
/** The error when the engine does not confirm a record. It is unknown whether the record was stored. */
export class BusUnavailable extends Error {
  readonly code = 'bus_unavailable'
}
