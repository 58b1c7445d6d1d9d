import type { Checkpoint, NewEvent, RecordedEvent } from '../events/envelope.ts'
import type { Family, StreamName } from '../events/streams.ts'

/** The state of the stream that the writer expects: `none` (it does not exist), `some` (it exists), `any`, or its exact revision. */
export type ExpectedRevision = 'none' | 'some' | 'any' | number

export interface Appended {
  /** Revision of the last event of the append. */
  readonly revision: number
  readonly position: Checkpoint
}
export interface AppendOptions {
  /** Whether the append may wait up to 30 ms to be written together with others. Writers set this when no caller waits for them. */
  readonly patient?: boolean
  /**
   * RFC 3339 time since which another process may have appended these events and died. The store then searches for them first. Otherwise a store that
   * forgets ids (EventStoreDB after a restart) may store an `any` append a second time.
   */
  readonly since?: string
}
export interface EventBatch {
  /** Events in the order of their positions, and so of their revisions within a stream. The list is empty when only the checkpoint has moved. */
  readonly events: readonly RecordedEvent[]
  /** All events of the subscribed families up to this position have been yielded. */
  readonly checkpoint: Checkpoint
}

/**
 * The streams of events.
 *
 * Order: positions are the order of commit. A subscription misses nothing, and yields the events of a stream in the order of revisions.
 * Durability: an append that has resolved survives a crash of any process and of the engine.
 * Idempotence: if the id of an append's first event is already in the stream, the append returns the same result as the first time. A store may
 *   forget ids of `any` appends after a while, so that readers of day streams must tolerate an event twice.
 * Grouping: concurrent appends are written together. An append that fails does not fail the others.
 * Age: events of day streams (`isDayStream`) are not read once they are older than the store's age limit.
 */
export interface EventStore {
  /** Identifies the adapter and the engine. It changes when another engine takes its place. */
  readonly identity: string
  /**
   * A sentence for the operator that says why appends or subscriptions have been failing for seconds, or null. It may always be null if other checks
   * report the failures of the store.
   */
  readonly problem: string | null
  /**
   * Appends all events or none. Throws RevisionConflict with the actual revision; a later read returns at least that revision. Also throws
   * EventTooLarge, EventRefused and StoreUnavailable. After StoreUnavailable the events may be stored or not, and a repeat with the same ids stores
   * them only once.
   */
  append(stream: StreamName, events: readonly NewEvent[], expected: ExpectedRevision, options?: AppendOptions): Promise<Appended>
  /**
   * Returns at most `limit` events of one stream in order. `from` is inclusive. Its default is the start of the stream, or the end when reading
   * backwards. A stream that does not exist is empty.
   */
  read(stream: StreamName, options?: { from?: number; limit?: number; backwards?: boolean }): Promise<RecordedEvent[]>
  /**
   * Yields the events of the families after the checkpoint (null: from the beginning) as they are stored, until the signal aborts. When
   * the engine fails, it retries with back-off.
   */
  subscribe(options: {
    families: readonly Family[]
    after: Checkpoint | null
    signal: AbortSignal
    /** The most events in one batch. Default 500. */
    batch?: number
  }): AsyncIterable<EventBatch>
  /**
   * Returns a checkpoint. Once a subscription of these families has reached it, the subscription has yielded all events that were appended before
   * this call. The result may be null when there are no events.
   */
  head(families: readonly Family[]): Promise<Checkpoint | null>
  /** Waits for the calls in flight and disconnects. */
  close(): Promise<void>
}

export class RevisionConflict extends Error {
  readonly code = 'revision_conflict'
  readonly stream: StreamName
  readonly expected: ExpectedRevision
  /** The stream's revision, or -1 when the stream does not exist. */
  readonly actual: number
  constructor(stream: StreamName, expected: ExpectedRevision, actual: number) {
    super(`stream ${stream}: expected revision ${expected}, found ${actual}`)
    this.stream = stream
    this.expected = expected
    this.actual = actual
  }
}
/** The error for an append that is larger than 1 MiB, the limit of every adapter. */
export class EventTooLarge extends Error {
  readonly code = 'event_too_large'
}
/** The error for an event that can never be stored, because another stream uses its id or the engine refuses its bytes. */
export class EventRefused extends Error {
  readonly code = 'event_refused'
}
/** The error when the engine does not respond in time. It is unknown whether the append was stored. */
export class StoreUnavailable extends Error {
  readonly code = 'store_unavailable'
}

export const meets = (expected: ExpectedRevision, actual: number): boolean =>
  expected === 'any' || (expected === 'none' ? actual === -1 : expected === 'some' ? actual >= 0 : expected === actual)
