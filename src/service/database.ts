import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Pool } from 'pg'
import { startEmbeddedPostgres } from '../adapters/postgres/embedded.ts'
import { migrate } from '../adapters/postgres/migrate.ts'
import { createPool } from '../adapters/postgres/pool.ts'
import { checkServer } from '../adapters/postgres/server-checks.ts'
import type { Config } from '../config/config.ts'
import { codeOf, KolbakError, withFullStop } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { sqlOn } from '../lib/sql.ts'
import { type Patience, whenAvailable } from './patience.ts'

/**
 * The most connections of each pool of a process. Writers, schedulers and readers have separate pools, so that none of them waits for the
 * connections of another. Leases and notices have their own, because a lease must be renewed in time while the API reads long lists. Two processors
 * keep about this many connections busy. Each connection costs Postgres 3 MB, so a pool of 10 costs memory and gains nothing (decision 50).
 */
export const poolSizes = { reads: 4, writes: 3, dispatch: 3, projections: 4, history: 2, leases: 2 } as const
export type PoolName = keyof typeof poolSizes
/** The connections that the embedded Postgres allows for each process: the connections of its pools, and 6 for operators and backups. */
const connectionsPerProcess = Object.values<number>(poolSizes).reduce((sum, size) => sum + size, 6)

interface Database extends OpenPostgres {
  /** Opens a pool of connections, which the caller must end. */
  pool(name: PoolName): Pool
  /** Opens a pool for a command that an operator runs. */
  operatorPool(): Pool
}

/** Throws KolbakError `no_database` if the configured folder or database holds no data of Kolbak. Nothing is created. */
export async function checkHasData({ DATABASE_URL: url, KOLBAK_DATA_DIR: dataDir }: Config, log: Log): Promise<void> {
  if (url === undefined) {
    if (existsSync(join(dataDir, 'postgres'))) return
    throw new KolbakError(
      'no_database',
      `${resolve(dataDir)} holds no data of Kolbak: set KOLBAK_DATA_DIR or DATABASE_URL as the service has it.`,
    )
  }
  const pool = createPool({ url, name: 'operator', max: 1, log })
  try {
    const [row] = await sqlOn(pool)<{ has_events: boolean }>`select to_regclass('public.command_events') is not null as has_events`
    if (row?.has_events !== true)
      throw new KolbakError('no_database', 'DATABASE_URL leads to a database without data of Kolbak: set it as the service has it.')
  } catch (error) {
    throwRefusal(error)
  } finally {
    await pool.end()
  }
}

interface OpenPostgres {
  readonly isEmbedded: boolean
  readonly url: string
  /** Stops the embedded Postgres, unless it runs for another process too. */
  stop(): Promise<void>
}
/** Opens the configured or embedded Postgres without migrating it. */
export async function openPostgres(
  { DATABASE_URL, KOLBAK_DATA_DIR: dataDir }: Pick<Config, 'DATABASE_URL' | 'KOLBAK_DATA_DIR'>,
  log: Log,
  { join = false, processes = 1 }: { join?: boolean; processes?: number } = {},
): Promise<OpenPostgres> {
  if (DATABASE_URL !== undefined) return { isEmbedded: false, url: DATABASE_URL, stop: async () => {} }
  const embedded = await startEmbeddedPostgres({ dataDir, log, join, connections: connectionsPerProcess * processes })
  log.info({ dataDir, tookOver: !embedded.started }, 'postgres.started')
  return { isEmbedded: true, url: embedded.url, stop: embedded.stop }
}

/**
 * Opens and migrates the Postgres of this process, which is configured or embedded.
 * @param join whether to use an embedded Postgres that already runs for another process, and to leave it running
 * @param processes number of processes that need connections
 */
export async function openDatabase(
  config: Config,
  patience: Patience,
  options: { join?: boolean; processes?: number } = {},
): Promise<Database> {
  const { log } = patience
  const postgres = await openPostgres(config, log, options)
  const { url } = postgres
  try {
    const risks = await whenAvailable('postgres', () => checkServer(url).catch(throwRefusal), patience)
    if (risks.length > 0) log.warn({ risks }, 'postgres.not_durable')
    const migrated = await whenAvailable('postgres', () => migrate(url).catch(throwRefusal), patience)
    if (migrated.length > 0) log.info({ migrations: migrated.length, newest: migrated.at(-1) }, 'postgres.migrated')
  } catch (error) {
    await postgres.stop()
    throw error
  }
  return {
    ...postgres,
    // Statements of the history touch many partitions, so that planning them takes longer than running them.
    pool: (name) => createPool({ url, name, max: poolSizes[name], log, plansOnce: name === 'history' }),
    operatorPool: () => createPool({ url, name: 'operator', max: 10, log }),
  }
}

/**
 * Throws KolbakError `invalid_config` for an error that waiting does not remove. Postgres refuses the login, the database, a parameter of the URL or
 * a permission; a file in the URL cannot be read; or the server's TLS or certificate does not fit the URL. Throws any other error unchanged.
 */
export function throwRefusal(cause: unknown): never {
  if (cause instanceof KolbakError || !(cause instanceof Error)) throw cause
  const code = codeOf(cause) ?? ''
  const { severity, syscall } = cause as { severity?: string; syscall?: string }
  const isRefusal =
    /^(28|3D|42501$|ERR_INVALID_URL$|ERR_TLS)|CERT|UNABLE_TO_/.test(code) ||
    (severity === 'FATAL' && /^(22|42|08P01$)/.test(code)) ||
    syscall === 'open' ||
    /does not support SSL/.test(cause.message)
  if (!isRefusal) throw cause
  const sentence = withFullStop(`DATABASE_URL does not lead to a database that Kolbak may use: ${cause.message}`)
  throw new KolbakError('invalid_config', sentence, { cause })
}
