import { closing } from '../../adapters/postgres/closing.ts'
import { createPostgresDeliveryLog } from '../../adapters/postgres/delivery-log.ts'
import { recordEngine } from '../../adapters/postgres/engines.ts'
import { createPostgresEventStore, skipTakenPositions } from '../../adapters/postgres/event-store.ts'
import { createPostgresMessageBus } from '../../adapters/postgres/message-bus.ts'
import { type DeliveryLogEngine, type EventStoreEngine, type MessageBusEngine, secondsKept } from './engine.ts'

const name = 'postgres'

/** The command `move` uses these functions when it moves a port away from Postgres. */
export { closing }

export const postgresEventStore: EventStoreEngine = {
  name,
  title: 'Postgres',
  chosenBy: null,
  async connect({ config, pools, notices, eventsAreHistory, log }) {
    const identity = await recordEngine(pools.reads, 'event_store', name)
    await skipTakenPositions(pools.writes)
    const store = createPostgresEventStore({
      pool: pools.writes,
      identity,
      dayStreamMaxAgeSeconds: secondsKept(config),
      keepsHistory: eventsAreHistory,
      ...{ notices, log },
    })
    return { adapter: store, expire: async (day, passed) => (await store.dropDaysBefore(day, passed)).length }
  },
}

export const postgresMessageBus: MessageBusEngine = {
  name,
  title: 'Postgres',
  chosenBy: null,
  async connect({ config, pools, leases, consumers, notices, log }) {
    const bus = await createPostgresMessageBus({
      pool: pools.writes,
      readers: pools.projections,
      identity: await recordEngine(pools.reads, 'message_bus', name),
      partitions: config.KOLBAK_PARTITIONS,
      ...{ leases, consumers, notices, log },
    })
    return { adapter: bus, expire: async (day, savedOffsets) => (await bus.dropDaysBefore(day, savedOffsets)).length }
  },
}

export const postgresDeliveryLog: DeliveryLogEngine = {
  name,
  title: 'Postgres',
  chosenBy: null,
  async connect({ pools, bus, eventsAreHistory, macs, log }) {
    const deliveryLog = await createPostgresDeliveryLog({
      pool: pools.projections,
      readers: pools.history,
      identity: await recordEngine(pools.reads, 'delivery_log', name),
      readsEvents: eventsAreHistory,
      ...{ bus, macs, log },
    })
    return { adapter: deliveryLog, expire: async (day) => (await deliveryLog.dropDaysBefore(day)).length }
  },
}
