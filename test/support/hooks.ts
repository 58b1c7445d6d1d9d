import { stopDatabases } from './database.ts'
import { stopCassandra } from './engines/cassandra.ts'

export const mochaHooks = {
  afterAll: () => Promise.all([stopDatabases(), stopCassandra()]),
}
