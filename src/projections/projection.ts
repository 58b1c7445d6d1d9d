import type { RecordedEvent } from '../events/envelope.ts'
import { shapeOf, upcast } from '../events/schema.ts'
import type { Family } from '../events/streams.ts'
import type { Sql } from '../lib/sql.ts'

/** The build of a projection for which events are prepared or applied. */
export interface BuildContext {
  readonly build: number
  /** Whether readers see the build. In `apply` this is exact. In `prepare` it may be a moment old, unless the projection has `externalBuilds`. */
  readonly is_live: boolean
}

/**
 * Code that turns events into a read model. The runner owns batches, transactions, checkpoints and lag. A projection only
 * defines what events do to its rows. It never sends anything.
 */
export interface Projection {
  /** Lower-case letters and `_`. */
  readonly name: string
  /** The version of the code. It is raised when the tables or the reading of events change. The projection is then built again beside the old build. */
  readonly version: number
  readonly families: readonly Family[]
  /**
   * DDL of the tables, with unqualified names: each build has them in its own schema. A projection without tables and without
   * `externalBuilds`, such as a process manager, is never built again: its new version continues at the checkpoint.
   */
  readonly tables?: string
  /** The tables that readers see, as views of the same names in `public`. */
  readonly views?: readonly string[]
  /**
   * Returns whether the projection needs an event; by default it needs all. The runner passes over other events, and while only
   * those arrive it saves the checkpoint rarely. So a process manager that needs one event of a million costs no commit per batch.
   */
  concerns?(event: RecordedEvent): boolean
  /**
   * The event types that `prepare` and `apply` read; by default all of the families. An event of another type that this version
   * knows is passed over, whatever its schema is. `byType` fills it in.
   */
  readonly reads?: ReadonlySet<string>
  /**
   * Milliseconds to wait after a small batch, so that the next one is larger; default 0. Each batch costs a transaction. This is
   * for projections that no caller waits for. The first event after a silence is never delayed.
   */
  readonly gatherMs?: number
  /**
   * Set when the rows of each build are in a store that shares no transaction with Postgres. Such a projection is built again like
   * one with tables. `prepare` writes the rows of the build, and `apply` makes things happen only for the live build. A build that
   * goes live continues at the checkpoint of the former live build. So each event is applied exactly once to a live build, and
   * events that the new build has already prepared are prepared again.
   */
  readonly externalBuilds?: {
    /** Creates an empty build; idempotent. */
    create(build: number): Promise<void>
    /** Drops a build; idempotent. */
    drop(build: number): Promise<void>
  }
  /**
   * Called before the transaction, for a store that shares none with Postgres. It must be idempotent, because it is repeated when
   * the transaction fails. A FactRefused names the faulty event.
   */
  prepare?(events: readonly RecordedEvent[], context: BuildContext): Promise<void>
  /** Called in the transaction that also moves the checkpoint. A batch may come whole or in parts, but always in order. */
  apply(sql: Sql, events: readonly RecordedEvent[], context: BuildContext): Promise<void>
  /** Called after each commit, for effects that must not come before it, such as waking a reader of the rows. */
  afterCommit?(): void
}

/**
 * Returns the events as a projection gets them, lifted to the present schemas of their types. Throws EventNotReadable for an event
 * that the projection reads and this version cannot read, because its schema is newer or its type is unknown.
 */
export const readable = ({ reads }: Pick<Projection, 'reads'>, events: readonly RecordedEvent[]): readonly RecordedEvent[] =>
  events.map((event) => (reads === undefined || reads.has(event.type) || shapeOf(event.type) === undefined ? upcast(event) : event))

type Handler<E> = (sql: Sql, event: E) => Promise<unknown>
type Handlers<E extends RecordedEvent> = { readonly [T in E['type']]?: Handler<Extract<E, { readonly type: T }>> }

/** Makes `apply` of one handler for each event type that the projection reads. Events of other types are passed over. */
export function byType<E extends RecordedEvent>(handlers: Handlers<E>) {
  const handlerOf = new Map<string, Handler<never>>(Object.entries(handlers))
  return {
    reads: new Set(handlerOf.keys()),
    async apply(sql: Sql, events: readonly RecordedEvent[]): Promise<void> {
      // An event of a type has the data of that type (events/schema.ts). TypeScript cannot follow the look-up.
      for (const event of events) await handlerOf.get(event.type)?.(sql, event as never)
    },
  }
}
