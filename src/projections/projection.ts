import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { shapeOf, upcast } from '../events/schema.ts'
import type { Family } from '../events/streams.ts'
import type { Sql } from '../lib/sql.ts'
import type { Gathering } from './gather.ts'

/** The build of a projection for which events are prepared or applied. */
export interface BuildContext {
  readonly build: number
  /** Whether readers see the build. The value is exact in `apply`. In `prepare` it may be out of date, unless the projection has `externalBuilds`. */
  readonly is_live: boolean
  /**
   * The position of the last event that the build had applied when it went live, or null. With `externalBuilds`, a build that goes live gets the events
   * up to this position again, because only a live build has effects.
   */
  readonly applied_to: Checkpoint | null
}

/**
 * Code that turns events into a read model. The runner handles batches, transactions, checkpoints and lag. A projection only defines what events do
 * to its rows. It never sends requests.
 */
export interface Projection {
  /** The name, in lower-case letters and `_`. */
  readonly name: string
  /** The version of the code. Raise it when the tables or the handling of events change, and a new build is made beside the old one. */
  readonly version: number
  readonly families: readonly Family[]
  /**
   * DDL of the tables. The names are unqualified, because each build has the tables in its own schema. A projection without tables and without
   * `externalBuilds`, such as a process manager, is never built again. Its new version continues at the checkpoint.
   */
  readonly tables?: string
  /** The tables that readers see, as views of the same names in `public`. */
  readonly views?: readonly string[]
  /**
   * Returns whether the projection needs an event. By default it needs all. The runner skips the others, and seldom saves the checkpoint while only such
   * events arrive. So a process manager that needs one event in a million does not cost a commit for each batch.
   */
  concerns?(event: RecordedEvent): boolean
  /**
   * The event types that `prepare` and `apply` read. By default they read all types of the families. An event of another known type is skipped, even
   * if its schema is newer. `byType` sets this field.
   */
  readonly reads?: ReadonlySet<string>
  /** The limits of the time for which events wait for others. By default they do not wait. Larger batches save transactions. */
  readonly gathering?: Gathering
  /**
   * Whether the projection takes every event as it is stored: forged ones, those of quarantined streams, and those that this version cannot read.
   * No event may make such a projection fail.
   */
  readonly takesAll?: boolean
  /**
   * Set when the rows of each build are in a store that shares no transaction with Postgres. Such a projection is built again like a
   * projection with tables. `prepare` writes the rows of the build, and `apply` makes things happen only for the live build. A build that
   * goes live continues at the checkpoint of the former live build. So each event is applied exactly once to a live build, and
   * events that the new build has already prepared are prepared again.
   */
  readonly externalBuilds?: {
    /** Creates an empty build. A repetition changes nothing. */
    create(build: number): Promise<void>
    /** Drops a build. A repetition changes nothing. */
    drop(build: number): Promise<void>
  }
  /**
   * Called before the transaction, to write to a store that shares no transaction with Postgres. The function must be idempotent, because it is
   * called again when the transaction fails. Throws FactRefused, which names the faulty event.
   */
  prepare?(events: readonly RecordedEvent[], context: BuildContext): Promise<void>
  /** Called in the transaction that also moves the checkpoint. A batch may be passed whole or in parts, but always in order. */
  apply(sql: Sql, events: readonly RecordedEvent[], context: BuildContext): Promise<void>
  /** Called in the transaction that makes a build live, with the tables of that build. If it throws, the build does not become live. */
  checkBuild?(sql: Sql): Promise<void>
  /**
   * Called for the live build after each commit, with every event that was read: also those of quarantined streams. At the start of a runner it is
   * called without events. A returned promise is awaited.
   * @param after the checkpoint before the events
   */
  observe?(events: readonly RecordedEvent[], after: Checkpoint | null, checkpoint: Checkpoint): Promise<void> | undefined
  /** Called after each commit, for what must follow the commit, such as waking a reader of the rows. */
  afterCommit?(): void
}

/**
 * Returns the events for a projection, converted to the present schemas of their types. Throws EventNotReadable for an event
 * that the projection reads and this version cannot read, because its schema is newer or its type is unknown.
 */
export const readable = (
  { reads, takesAll }: Pick<Projection, 'reads' | 'takesAll'>,
  events: readonly RecordedEvent[],
): readonly RecordedEvent[] =>
  takesAll === true
    ? events
    : events.map((event) => (reads === undefined || reads.has(event.type) || shapeOf(event.type) === undefined ? upcast(event) : event))

type Handler<E> = (sql: Sql, event: E) => Promise<unknown>
type Handlers<E extends RecordedEvent> = { readonly [T in E['type']]?: Handler<Extract<E, { readonly type: T }>> }

/** Makes `apply` from one handler for each event type that the projection reads. Events of other types are skipped. */
export function byType<E extends RecordedEvent>(handlers: Handlers<E>) {
  const handlerOf = new Map<string, Handler<never>>(Object.entries(handlers))
  return {
    reads: new Set(handlerOf.keys()),
    async apply(sql: Sql, events: readonly RecordedEvent[]): Promise<void> {
      // The cast is needed because TypeScript cannot see that the handler found by the event's type takes this event.
      for (const event of events) await handlerOf.get(event.type)?.(sql, event as never)
    },
  }
}
