import { stopDatabases } from './database.ts'
import { stopCassandra } from './engines/cassandra.ts'
import { stopKafka } from './engines/kafka.ts'
import { removeInitialised } from './service.ts'

export const mochaHooks = {
  afterAll: () => Promise.all([stopDatabases(), stopCassandra(), stopKafka(), removeInitialised()]),
}
