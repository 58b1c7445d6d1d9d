import { randomBytes } from 'node:crypto'
import type { Log } from '../../lib/log.ts'
import { createUnderWay } from '../../lib/under-way.ts'
import type { DeliveryHistory, DeliveryLog } from '../../ports/delivery-log.ts'
import { createBodyArchive } from './body-archive.ts'
import { createDeliveryQueries } from './history-queries.ts'
import { createFactWriter } from './history-record.ts'
import { archiveMigrations, historyMigrations, historyTables } from './migrations.ts'
import { type Retention, retention } from './retention.ts'
import { dropHistory, ensureKeyspace, migrate, type Replication } from './schema.ts'
import { openSession, type Session, type SessionOptions } from './session.ts'

export interface CassandraDeliveryLogOptions extends SessionOptions {
  /** The name of the keyspace: 1-48 characters of `a-z 0-9 _`, beginning with a letter. The keyspace is created if it is missing. */
  readonly keyspace: string
  /** The replication of the keyspace, which is used only when the keyspace is created. */
  readonly replication: Replication
  /** Seconds for which rows are kept after their message was accepted, even if they are written late. At most 20 years. */
  readonly retentionSeconds: number
}
export type CassandraDeliveryLog = DeliveryLog

/**
 * Makes a delivery log whose archive and history are tables of Cassandra, one table for each kind of query. It connects, and brings the schema up to
 * date. Throws DeliveryLogUnavailable if a retry may help, and KolbakError `invalid_config` if the configuration is wrong.
 *
 * The nodes decide how durable a resolved write is. By default a node syncs its commit log every ten seconds. A node that is killed
 * loses the writes since its last sync (measured). Durability therefore needs three copies and quorums, or `commitlog_sync: group` on one
 * node.
 */
export async function createCassandraDeliveryLog(options: CassandraDeliveryLogOptions): Promise<CassandraDeliveryLog> {
  const { keyspace, replication, retentionSeconds, log } = options
  const rowRetention = retention(retentionSeconds)
  const session = await openSession(options)
  try {
    await ensureKeyspace(session, keyspace, replication)
    await migrate(session, keyspace, archiveMigrations(keyspace, retentionSeconds), log)
    const identity = await identityOf(session, keyspace)
    return assemble({ session, identity, keyspace, rowRetention, log })
  } catch (error) {
    await session.close()
    throw error
  }
}

function assemble(deps: { session: Session; identity: string; keyspace: string; rowRetention: Retention; log: Log }): CassandraDeliveryLog {
  const { session, identity, keyspace, rowRetention, log } = deps
  const calls = createUnderWay()
  const archive = createBodyArchive(session, keyspace, rowRetention)
  return {
    identity,
    archive: (bodies) => calls.track(archive.archive(bodies)),
    bodies: (messages) => calls.track(archive.bodies(messages)),
    erase: (messages) => calls.track(archive.erase(messages)),
    historyOf(build): DeliveryHistory {
      const tables = historyTables(keyspace, build)
      const queries = createDeliveryQueries(session, tables, rowRetention)
      const record = createFactWriter(session, tables, rowRetention)
      return {
        record: (facts) => calls.track(record(facts)),
        states: (keys) => calls.track(queries.states(keys)),
        find: (tenant, delivery) => calls.track(queries.find(tenant, delivery)),
        attempts: (keys) => calls.track(queries.attempts(keys)),
        history: (webhook, query) => calls.track(queries.history(webhook, query)),
        undelivered: (query) => calls.track(queries.undelivered(query)),
        deadLetterGroups: (query) => calls.track(queries.deadLetterGroups(query)),
        deadLetters: (query) => calls.track(queries.deadLetters(query)),
      }
    },
    makeBuild: (build) => calls.track(migrate(session, keyspace, historyMigrations(keyspace, build, rowRetention.seconds), log)),
    dropBuild: (build) => calls.track(dropHistory(session, keyspace, build)),
    async close() {
      await calls.ended()
      await session.close()
    },
  }
}

/** Returns the random id of this keyspace, which is chosen once. */
async function identityOf(session: Session, keyspace: string): Promise<string> {
  const newIdentity = `cassandra-${randomBytes(4).toString('hex')}`
  const { applied, row } = await session.compareAndSet({
    cql: `insert into ${keyspace}.engine (name, value) values ('identity', ?) if not exists`,
    params: [newIdentity],
  })
  return applied ? newIdentity : String(row?.value)
}
