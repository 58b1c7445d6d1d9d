import { postgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { silentLog } from '../../src/lib/log.ts'
import { freshDatabase } from '../support/database.ts'
import { eventStoreContract } from './event-store.contract.ts'

eventStoreContract('Postgres', async () => {
  const { pool, drop } = await freshDatabase()
  return {
    open: ({ dayStreamMaxAgeSeconds }) => postgresEventStore({ pool, log: silentLog, identity: 'postgres-test', dayStreamMaxAgeSeconds }),
    drop,
  }
})
