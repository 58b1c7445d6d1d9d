import type { Checkpoint, NewEvent, RecordedEvent } from '../events/envelope.ts'
import type { Family, StreamName } from '../events/streams.ts'

/** What the writer believes of the stream: `none` (does not exist), `some` (exists), `any`, or its exact revision. */
export type ExpectedRevision = 'none' | 'some' | 'any' | number

export interface Appended {
  /** Of the last event of the append. */
  readonly revision: number
  readonly position: Checkpoint
}
interface AppendOptions {
  /** The append may wait up to 10 ms to be written together with others: for writers whose caller does not wait. */
  readonly patient?: boolean
  /**
   * RFC 3339: another process may have appended these events since then, and died before it could say so. The store looks
   * for them first. Without it, a store that forgets ids (EventStoreDB after a restart) may store an `any` append of
   * another process a second time.
   */
  readonly since?: string
}
export interface EventBatch {
  /** In the order of positions; within a stream that of revisions. May be empty when only the checkpoint moved. */
  readonly events: readonly RecordedEvent[]
  /** Everything of the subscribed families up to here has been handed over. */
  readonly checkpoint: Checkpoint
}

/**
 * The streams of events.
 *
 * Order: positions are the order of commit; a subscription misses nothing and never sees a stream backwards.
 * Durability: an append that has resolved survives a crash of any process and of the engine.
 * Idempotence: an append whose first event id its stream already holds answers as the first time. A store may forget ids
 * of `any` appends after a while, so readers of day streams tolerate an event twice.
 * Grouping: concurrent appends are written together; one that fails does not fail the others.
 * Age: events of day streams (`isDayStream`) are not read once they are older than the store's age limit.
 */
export interface EventStore {
  /** Names adapter and engine; it changes when another engine is put in its place. */
  readonly identity: string
  /**
   * Appends all events or none. Throws RevisionConflict (with the true revision: a read that begins later sees it), EventTooLarge,
   * EventRefused, or StoreUnavailable (it may have happened: repeat it under the same ids; the store then has them once).
   */
  append(stream: StreamName, events: readonly NewEvent[], expected: ExpectedRevision, options?: AppendOptions): Promise<Appended>
  /** Events of one stream: from `from` (inclusive; default its start, backwards its end), at most `limit`. A stream that does not exist is empty. */
  read(stream: StreamName, options?: { from?: number; limit?: number; backwards?: boolean }): Promise<RecordedEvent[]>
  /** Live: everything of the families after the checkpoint (null: from the beginning), until the signal aborts. Survives failures of the engine by trying again with back-off. */
  subscribe(options: {
    families: readonly Family[]
    after: Checkpoint | null
    signal: AbortSignal
    /** Events in one batch at the most; default 500. */
    batch?: number
  }): AsyncIterable<EventBatch>
  /** A checkpoint such that a subscription of these families that has reached it has handed over all that was appended before this call; null may be answered when there is nothing. */
  head(families: readonly Family[]): Promise<Checkpoint | null>
  /** Finishes what is under way and lets go of the engine. */
  close(): Promise<void>
}

export class RevisionConflict extends Error {
  readonly code = 'revision_conflict'
  readonly stream: StreamName
  readonly expected: ExpectedRevision
  /** -1 when the stream does not exist. */
  readonly actual: number
  constructor(stream: StreamName, expected: ExpectedRevision, actual: number) {
    super(`stream ${stream}: expected revision ${expected}, found ${actual}`)
    this.stream = stream
    this.expected = expected
    this.actual = actual
  }
}
/** An append beyond the limit of every adapter (1 MiB). */
export class EventTooLarge extends Error {
  readonly code = 'event_too_large'
}
/** Why an event cannot be stored whoever tries (an id used in another stream, bytes the engine refuses). */
export class EventRefused extends Error {
  readonly code = 'event_refused'
}
/** The engine did not answer, or not in time: whether the append happened is unknown. */
export class StoreUnavailable extends Error {
  readonly code = 'store_unavailable'
}

export const meets = (expected: ExpectedRevision, actual: number): boolean =>
  expected === 'any' || (expected === 'none' ? actual === -1 : expected === 'some' ? actual >= 0 : expected === actual)
