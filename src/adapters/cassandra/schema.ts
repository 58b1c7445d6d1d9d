import { randomUUID } from 'node:crypto'
import { uuidV5 } from '../../events/uuid.ts'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { DeliveryLogUnavailable } from './errors.ts'
import { historyMigrations, historyTables, type Migration } from './migrations.ts'
import type { Session } from './session.ts'

/**
 * Replication options as in CQL: `{ class: 'NetworkTopologyStrategy', dc1: 3 }`, or `{ class: 'SimpleStrategy', replication_factor: 1 }`.
 */
export type Replication = Readonly<Record<string, string | number>>

/** Seconds for which the lock of the schema lasts. The process that changes the schema renews it before each statement. */
const lockSeconds = 120
/** Milliseconds to wait for the lock. In this time another process can complete its changes. */
const lockWaitMs = 180_000

const quoted = (text: string | number): string => `'${String(text).replaceAll("'", "''")}'`

/** Creates the keyspace if it is missing. Throws when the user may not create a keyspace. */
export async function ensureKeyspace(session: Session, keyspace: string, replication: Replication): Promise<void> {
  if (!/^[a-z][a-z0-9_]{0,47}$/.test(keyspace)) throw new RangeError(`not a keyspace's name: ${JSON.stringify(keyspace)}`)
  const query = { cql: 'select keyspace_name from system_schema.keyspaces where keyspace_name = ?', params: [keyspace] }
  if ((await session.read(query, 1)).rows.length > 0) return // an existing keyspace needs no permission to create keyspaces
  const options = Object.entries(replication).map(([name, value]) => `${quoted(name)}: ${quoted(value)}`)
  await session.change(`create keyspace if not exists ${keyspace} with replication = {${options.join(', ')}}`)
}

/**
 * Runs the migrations that this keyspace has not run. Only one process at a time does so, because two nodes that create the same table at the same
 * time would disagree about it.
 */
export async function migrate(session: Session, keyspace: string, migrations: readonly Migration[], log: Log): Promise<void> {
  const pending = async (): Promise<Migration[]> => {
    const tables = { cql: 'select table_name from system_schema.tables where keyspace_name = ? and table_name = ?' }
    if ((await session.read({ ...tables, params: [keyspace, 'schema_migrations'] }, 1)).rows.length === 0) return [...migrations]
    const { rows } = await session.read({ cql: `select name from ${keyspace}.schema_migrations`, params: [] }, 5_000)
    const applied = new Set(rows.map((row) => row.name))
    return migrations.filter(({ name }) => !applied.has(name))
  }
  if ((await pending()).length === 0) return
  await withLock(session, keyspace, async (change) => {
    await change(`create table if not exists ${keyspace}.schema_migrations (name text primary key, applied_at timestamp)`)
    for (const { name, statements } of await pending()) {
      for (const statement of statements) await change(statement)
      await session.write([
        {
          cql: `insert into ${keyspace}.schema_migrations (name, applied_at) values (?, ?)`,
          params: [name, new Date()],
        },
      ])
      log.info({ keyspace, migration: name }, 'cassandra.migrated')
    }
  })
}

/** Drops the tables of one build. A repetition changes nothing. */
export async function dropHistory(session: Session, keyspace: string, build: number): Promise<void> {
  const tables = historyTables(keyspace, build)
  await withLock(session, keyspace, async (change) => {
    for (const table of Object.values(tables)) await change(`drop table if exists ${table}`)
    for (const { name } of historyMigrations(keyspace, build, 0))
      await session.write([{ cql: `delete from ${keyspace}.schema_migrations where name = ?`, params: [name] }])
  })
}

/** Does the work while no other process changes this schema. Throws DeliveryLogUnavailable if other processes hold the lock for too long. */
async function withLock(session: Session, keyspace: string, work: (change: Session['change']) => Promise<void>): Promise<void> {
  const table = `${keyspace}.schema_lock`
  // The table of the lock is created without a lock. Two processes choose the same table id, so that both create the same table.
  await session.change(
    `create table if not exists ${table} (name text primary key, owner text) with id = ${uuidV5('cassandra', keyspace, 'schema_lock')}`,
  )
  const owner = randomUUID()
  const take = async (): Promise<boolean> => {
    const cql = `insert into ${table} (name, owner) values ('schema', ?) if not exists using ttl ${lockSeconds}`
    const { applied, row } = await session.compareAndSet({ cql, params: [owner] })
    return applied || row?.owner === owner // the first try of a retried request may have taken the lock
  }
  const delays = createBackoff(20, 1_000)
  for (const end = performance.now() + lockWaitMs; !(await take()); await pause(delays.next()))
    if (performance.now() > end) throw new DeliveryLogUnavailable(new Error('another process has been changing the schema for too long'))
  try {
    await work(async (cql) => {
      const renew = `update ${table} using ttl ${lockSeconds} set owner = ? where name = 'schema' if owner = ?`
      const { applied } = await session.compareAndSet({ cql: renew, params: [owner, owner] })
      if (!applied) throw new DeliveryLogUnavailable(new Error('the lock of the schema was lost'))
      await session.change(cql)
    })
  } finally {
    const release = { cql: `delete from ${table} where name = 'schema' if owner = ?`, params: [owner] }
    // A lock that is not released expires. The error of the work matters more than an error of the release.
    await session.compareAndSet(release).catch(() => undefined)
  }
}
