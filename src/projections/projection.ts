import type { RecordedEvent } from '../events/envelope.ts'
import { shapeOf, upcast } from '../events/schema.ts'
import type { Family } from '../events/streams.ts'
import type { Sql } from '../lib/sql.ts'

/** For which build of a projection something is done. */
export interface OfBuild {
  readonly build: number
  /** Whether readers see it. Certain in `apply`, a moment old in a `prepare` of a projection without copies. */
  readonly is_live: boolean
}

/**
 * Code that turns events into a read model. The runner owns batches, transactions, checkpoints and lag; a projection
 * only says what one event does to its rows. It never sends anything.
 */
export interface Projection {
  /** Lower-case letters and `_`. */
  readonly name: string
  /** Raised when its tables or its reading of events change: it is then built anew beside the old one. */
  readonly version: number
  readonly families: readonly Family[]
  /**
   * DDL of its tables, with unqualified names: each build has them in a schema of its own. A projection without tables
   * (one whose rows live elsewhere, such as a process manager) is not built anew, unless it has `copies`: a new version goes
   * on at the checkpoint.
   */
  readonly tables?: string
  /** Tables that readers see, as views of the same names in `public`. */
  readonly views?: readonly string[]
  /**
   * Whether an event is anything to it; absent, all are. The others are passed over, and while nothing else comes the
   * checkpoint is saved only now and then: a process manager that waits for one event of a million costs no commit a batch.
   */
  concerns?(event: RecordedEvent): boolean
  /**
   * The event types that `prepare` and `apply` read; absent, all of its families. An event of another type that this version
   * knows is passed over, whatever its schema. `byType` fills it in.
   */
  readonly reads?: ReadonlySet<string>
  /**
   * Milliseconds that it waits after a small batch, so that the next is a larger one: each costs a transaction, and nobody is
   * to wait for these rows (a command's caller waits for the read models of commands). Default 0. What comes after a silence
   * is taken at once.
   */
  readonly gatherMs?: number
  /**
   * Rows of each build in a store that shares no transaction with Postgres. Such a projection is built anew like one with
   * tables: `prepare` writes to the build's copy, and `apply` makes things happen for the live build only. A build that
   * goes live goes on where the one before it stood, so that each event is once applied to a live build; what it has
   * prepared before that is prepared again.
   */
  readonly copies?: {
    /** Makes the copy of a build, empty; idempotent. */
    make(build: number): Promise<void>
    /** Drops it; idempotent. */
    drop(build: number): Promise<void>
  }
  /**
   * Before the transaction, for a store that shares none with Postgres: idempotent, and repeated when the transaction
   * fails. A FactRefused names the event whose fault it is.
   */
  prepare?(events: readonly RecordedEvent[], of: OfBuild): Promise<void>
  /** In the transaction that also moves the checkpoint. A batch may come whole or in parts, always in order. */
  apply(sql: Sql, events: readonly RecordedEvent[], of: OfBuild): Promise<void>
  /** Called after each commit, for what must not happen before it, such as waking a reader of the rows. */
  afterCommit?(): void
}

/**
 * The events as a projection gets them, lifted to the present schemas of their types. Throws EventNotReadable for an event that the
 * projection needs and this version cannot read: one of a newer schema, or of an unknown type.
 */
export const readable = ({ reads }: Pick<Projection, 'reads'>, events: readonly RecordedEvent[]): readonly RecordedEvent[] =>
  events.map((event) => (reads === undefined || reads.has(event.type) || shapeOf(event.type) === undefined ? upcast(event) : event))

type Handler<E> = (sql: Sql, event: E) => Promise<unknown>
export type Handlers<E extends RecordedEvent> = { readonly [T in E['type']]?: Handler<Extract<E, { readonly type: T }>> }

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
