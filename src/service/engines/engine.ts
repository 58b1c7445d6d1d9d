import type { Pool } from 'pg'
import type { Config } from '../../config/config.ts'
import type { Checkpoint } from '../../events/envelope.ts'
import { secondsPerDay } from '../../lib/days.ts'
import type { LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import type { DeliveryLog } from '../../ports/delivery-log.ts'
import type { EventStore } from '../../ports/event-store.ts'
import type { MessageBus } from '../../ports/message-bus.ts'

export interface OpenEventStore {
  readonly adapter: EventStore
  /** Drops events of days before `day` (`yyyy-mm-dd`) that every reader has passed. Returns how many parts were dropped. */
  expire(day: string, passed: Checkpoint): Promise<number>
}
export interface OpenMessageBus {
  readonly adapter: MessageBus
  /**
   * Drops records of days before `day` that are done. Returns how many parts were dropped.
   * @param unread for each partition the first offset that is not done; a partition that is missing is all unread
   */
  expire(day: string, unread: ReadonlyMap<number, bigint>): Promise<number>
  /** Shows the bus's own tools which records are done. Nothing depends on it. */
  committed?(offsets: ReadonlyMap<number, bigint>): void
}
export interface OpenDeliveryLog {
  readonly adapter: DeliveryLog
  /** Drops the history and bodies of days before `day`. Returns how many parts were dropped. */
  expire(day: string): Promise<number>
}

export interface EngineDeps {
  readonly config: Config
  readonly log: Log
  readonly leases: LeaseKeeper
  /** Counts the live processes that consume. */
  readonly consumers: () => number
  /** Pools of the database, for what they are named after. */
  readonly pools: { readonly reads: Pool; readonly writes: Pool; readonly projections: Pool; readonly history: Pool }
}

/**
 * One engine behind a port. To add an engine: its adapter in `src/adapters/<engine>/`, its variables in `src/config/config.ts`,
 * an `Engine` in this folder that makes the one from the other, and a line in `table.ts`.
 */
export interface Engine<Deps, Open> {
  /** Begins the identity of the engine, which Postgres records at the first start. */
  readonly name: string
  /** The variable that chooses this engine. Null: the engine is chosen when no other one is. */
  readonly chosenBy: keyof Config | null
  /** Codes of KolbakErrors of `connect` that say only that the engine does not answer yet. */
  readonly unavailable?: readonly string[]
  /** Connects once. Its client library is loaded here, because only one of the engines of a port is used, and the clients are large. */
  connect(deps: Deps): Promise<Open>
}
export type EventStoreEngine = Engine<EngineDeps, OpenEventStore>
export type MessageBusEngine = Engine<EngineDeps, OpenMessageBus>
/** Made after the bus, which may keep the bodies that the log is asked for. */
export type DeliveryLogEngine = Engine<EngineDeps & { readonly bus: MessageBus }, OpenDeliveryLog>

/** For engines that expire what they hold by themselves. */
export const expiresByItself = async (): Promise<number> => 0
export const secondsKept = (config: Config): number => config.KOLBAK_RETENTION_DAYS * secondsPerDay
