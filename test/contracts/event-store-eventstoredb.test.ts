import { env } from 'node:process'
import { eventStoreDb } from '../../src/adapters/eventstoredb/event-store.ts'
import { silentLog } from '../../src/lib/log.ts'
import { startEventStoreDb } from '../support/eventstoredb/index.ts'
import { eventStoreContract } from './event-store.contract.ts'

eventStoreContract(env.EVENTSTOREDB_URL === undefined ? "EventStoreDB's double" : 'EventStoreDB', async () => {
  const server = env.EVENTSTOREDB_URL === undefined ? await startEventStoreDb() : null
  const url = server?.url ?? env.EVENTSTOREDB_URL ?? ''
  return {
    open: ({ dayStreamMaxAgeSeconds }) => eventStoreDb({ url, dayStreamMaxAgeSeconds, log: silentLog }),
    drop: async () => server?.stop(),
  }
})
