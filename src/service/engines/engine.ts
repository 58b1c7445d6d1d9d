import type { Pool } from 'pg'
import type { Config } from '../../config/config.ts'
import type { Checkpoint } from '../../events/envelope.ts'
import { secondsPerDay } from '../../lib/days.ts'
import type { EventMacs } from '../../lib/event-macs.ts'
import type { LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import type { Notices } from '../../lib/notices.ts'
import type { DeliveryLog } from '../../ports/delivery-log.ts'
import type { EventStore } from '../../ports/event-store.ts'
import type { MessageBus } from '../../ports/message-bus.ts'

export interface OpenEventStore {
  readonly adapter: EventStore
  /** Drops the events of days before `day` (`yyyy-mm-dd`) that every reader has passed. Returns the number of dropped partitions or rows. */
  expire(day: string, passed: Checkpoint): Promise<number>
}
export interface OpenMessageBus {
  readonly adapter: MessageBus
  /**
   * Drops the records of days before `day` that are done. `service/sweeps` calls it. Returns the number of dropped partitions or rows.
   * @param savedOffsets the saved offset of each partition; records of a missing partition are not dropped
   */
  expire(day: string, savedOffsets: ReadonlyMap<number, bigint>): Promise<number>
  /**
   * Also stores the saved offsets in the bus, so that its own tools show how far behind the consumers are. `service/dispatching` calls this after it has
   * saved the offsets. Kolbak never reads them from the bus.
   */
  committed?(offsets: ReadonlyMap<number, bigint>): void
}
export interface OpenDeliveryLog {
  readonly adapter: DeliveryLog
  /** Drops the history and bodies of days before `day`. Returns the number of dropped partitions or rows. */
  expire(day: string): Promise<number>
}

export interface EngineDeps {
  readonly config: Config
  readonly log: Log
  readonly leases: LeaseKeeper
  readonly notices: Notices
  /** Returns the number of live processes that consume the bus. */
  readonly consumers: () => number
  /** Whether the first successes of deliveries are read from the event store. `table.ts` computes it. */
  readonly eventsAreHistory: boolean
  /** Checks the events that are read as history. Only a service has it. */
  readonly macs?: Pick<EventMacs, 'faultOf'>
  /** Pools of the database. Each pool is named after its use. */
  readonly pools: { readonly reads: Pool; readonly writes: Pool; readonly projections: Pool; readonly history: Pool }
}

/**
 * One engine behind a port. A new engine needs an `Engine` in this folder, which makes the adapter from the configuration, and a line in `table.ts`.
 * CONTRIBUTING.md has the checklist of everything else.
 */
export interface Engine<Deps, Open> {
  /** The identity of the engine begins with this name. Postgres records the identity at the first start. */
  readonly name: string
  /** The name of the engine in sentences. */
  readonly title: string
  /** The variable that chooses this engine, or null for the default engine. */
  readonly chosenBy: keyof Config | null
  /** Codes of the KolbakErrors with which `connect` reports that the engine does not respond yet. */
  readonly unavailable?: readonly string[]
  /** Connects to the engine. The client library is loaded only here, because the libraries are large and a service uses one engine for each port. */
  connect(deps: Deps): Promise<Open>
}
export type EventStoreEngine = Engine<EngineDeps, OpenEventStore>
export type MessageBusEngine = Engine<EngineDeps, OpenMessageBus>
/** The delivery log is opened after the bus. On a bus that can read its records again, it stores no bodies and reads them from the bus. */
export type DeliveryLogEngine = Engine<EngineDeps & { readonly bus: MessageBus }, OpenDeliveryLog>

/** The `expire` of an engine that drops old data by itself. */
export const expiresByItself = async (): Promise<number> => 0
export const secondsKept = (config: Config): number => config.KOLBAK_RETENTION_DAYS * secondsPerDay
