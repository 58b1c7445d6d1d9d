import {
  type CassandraDeliveryLog,
  type CassandraDeliveryLogOptions,
  createCassandraDeliveryLog,
} from '../../src/adapters/cassandra/delivery-log.ts'
import { silentLog } from '../../src/lib/log.ts'
import type { DeliveryHistory } from '../../src/ports/delivery-log.ts'
import { type Cassandra, sharedCassandra } from './engines/cassandra.ts'

export interface OpenedLog {
  readonly cassandra: Cassandra
  readonly keyspace: string
  readonly options: CassandraDeliveryLogOptions
  readonly log: CassandraDeliveryLog
  /** The first build of the history. */
  readonly history: DeliveryHistory
  /** Closes the log and drops its keyspace. */
  drop(): Promise<void>
}

/** Returns the options that open the log on this server, in a new keyspace. */
export const optionsOn = (cassandra: Cassandra): CassandraDeliveryLogOptions => ({
  contactPoints: cassandra.contactPoints,
  localDataCenter: cassandra.localDataCenter,
  ...(cassandra.credentials && { credentials: cassandra.credentials }),
  ...(cassandra.ca && { ssl: { ca: cassandra.ca } }),
  keyspace: cassandra.newKeyspace(),
  replication: { class: 'SimpleStrategy', replication_factor: 1 },
  retentionSeconds: 30 * 86_400,
  log: silentLog,
})

/** Opens a log in a new keyspace, with build 1. The default server is the Cassandra that all tests share. */
export async function openCassandraLog(given: Partial<CassandraDeliveryLogOptions> & { cassandra?: Cassandra } = {}): Promise<OpenedLog> {
  const { cassandra = await sharedCassandra(), ...fields } = given
  const options = { ...optionsOn(cassandra), ...fields }
  const log = await createCassandraDeliveryLog(options)
  await log.makeBuild(1)
  return {
    cassandra,
    keyspace: options.keyspace,
    options,
    log,
    history: log.historyOf(1),
    async drop() {
      await log.close()
      await cassandra.query(`drop keyspace ${options.keyspace}`)
    },
  }
}
