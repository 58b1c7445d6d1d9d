import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/adapters/postgres/embedded.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { silentLog } from '../../src/lib/log.ts'

export interface TestDatabase {
  readonly url: string
  readonly pool: pg.Pool
  /** A pool that uses generic plans, like the pool of the service for queries of the history. */
  readonly readers: pg.Pool
  drop(): Promise<void>
}

const template = 'kolbak_template'
let server: Promise<{ postgres: EmbeddedPostgres; dataDir: string }> | undefined
let databaseCount = 0

/** Starts one Postgres for the whole run, without fsync. It starts in a second, and its data does not outlive the run. */
const start = async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-test-'))
  const postgres = await startEmbeddedPostgres({
    dataDir,
    log: silentLog,
    settings: ['fsync=off', 'full_page_writes=off', 'max_connections=400'],
  })
  try {
    await withAdmin(postgres.url, (admin) => admin.query(`create database ${template}`))
    await migrate(withName(postgres.url, template))
    return { postgres, dataDir }
  } catch (error) {
    await postgres.stop()
    throw error
  }
}
const withName = (url: string, name: string) => Object.assign(new URL(url), { pathname: `/${name}` }).href
const withAdmin = async (url: string, work: (admin: pg.Client) => Promise<unknown>) => {
  const admin = new pg.Client({ connectionString: withName(url, 'postgres') })
  await admin.connect()
  try {
    await work(admin)
  } finally {
    await admin.end()
  }
}

/** Creates a migrated database that only the caller uses. */
export async function freshDatabase(): Promise<TestDatabase> {
  server ??= start()
  const { postgres } = await server
  const name = `test_${process.pid}_${++databaseCount}`
  await withAdmin(postgres.url, (admin) => admin.query(`create database ${name} template ${template}`))
  const url = withName(postgres.url, name)
  const pool = createPool({ url, name: 'test', max: 20, log: silentLog })
  const readers = createPool({ url, name: 'test readers', max: 6, log: silentLog, plansOnce: true })
  return {
    url,
    pool,
    readers,
    async drop() {
      await Promise.all([pool.end(), readers.end()])
      await withAdmin(postgres.url, (admin) => admin.query(`drop database ${name} with (force)`))
    },
  }
}

/** Stops the Postgres of the run. hooks.ts calls it at the end. */
export async function stopDatabases(): Promise<void> {
  const started = await server?.catch(() => undefined) // the test that started it has the error
  if (started === undefined) return
  const { postgres, dataDir } = started
  await postgres.stop()
  await rm(dataDir, { recursive: true, force: true })
}
