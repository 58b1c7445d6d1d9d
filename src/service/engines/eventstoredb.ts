import { type EventStoreEngine, expiresByItself, secondsKept } from './engine.ts'

/** Opens EventStoreDB as the event store. EventStoreDB itself drops the events of day streams, by `$maxAge`. */
export const eventStoreDb: EventStoreEngine = {
  name: 'eventstoredb',
  title: 'EventStoreDB',
  chosenBy: 'EVENTSTOREDB_URL',
  async connect({ config, log }) {
    const { createEventStoreDbStore } = await import('../../adapters/eventstoredb/event-store.ts')
    const store = await createEventStoreDbStore({
      url: config.EVENTSTOREDB_URL ?? '',
      dayStreamMaxAgeSeconds: secondsKept(config),
      log,
    })
    return { adapter: store, expire: expiresByItself }
  },
}
