import { type EventStoreEngine, expiresByItself, secondsKept } from './engine.ts'

/** Events of day streams expire by `$maxAge`. */
export const eventStoreDb: EventStoreEngine = {
  name: 'eventstoredb',
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
