import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '../../src/adapters/postgres/embedded.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { silentLog } from '../../src/lib/log.ts'
import { enginesFor } from './engine-sets.ts'
import { waitFor } from './wait-for.ts'

export const admin = { id: 'admin', secret: 'a-secret-of-the-tests-that-is-long-enough' }

/** The keys of services with DATABASE_URL. Services on the same database need the same keys. */
export const fixedKeys = {
  KOLBAK_MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
  KOLBAK_JWT_SECRET: Buffer.alloc(32, 2).toString('base64'),
}

export interface LogLine {
  readonly msg: string
  readonly [field: string]: unknown
}
/** The service as a user runs it, in a separate process. */
export interface RunningService {
  readonly url: string
  readonly child: ChildProcess
  /** The lines of its log, in order. */
  readonly logLines: readonly LogLine[]
  kill(signal: NodeJS.Signals): Promise<number | null>
}

const main = join(import.meta.dirname, '../../src/main.ts')

export const temporaryFolder = () => mkdtemp(join(tmpdir(), 'kolbak-e2e-'))

let initialised: Promise<string> | undefined
/** Initialises and migrates a Postgres once. Each service gets a copy of its data folder, because copying takes a tenth of the time. */
const initialise = async (): Promise<string> => {
  const folder = await temporaryFolder()
  const postgres = await startEmbeddedPostgres({ dataDir: folder, log: silentLog })
  await migrate(postgres.url)
  await postgres.stop()
  return folder
}
/** Copies an initialised and migrated Postgres into an empty data folder. */
export async function copyInitialised(dataDir: string): Promise<void> {
  initialised ??= initialise()
  await promisify(execFile)('cp', ['-a', `${await initialised}/.`, dataDir]) // -a keeps the owner, because Postgres runs as that user
}
export const removeInitialised = async (): Promise<void> => {
  if (initialised !== undefined) await rm(await initialised, { recursive: true, force: true })
}

/** Starts a process of the service and collects its log. Does not wait until the process is ready. */
export function spawnService(dataDir: string, variables: Record<string, string> = {}) {
  const inherited = Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(KOLBAK_|KAFKA_|CASSANDRA_|EVENTSTOREDB_|DATABASE_URL|PORT$|HOST$)/.test(name)),
  )
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...inherited,
      PORT: '0',
      KOLBAK_PROCESSES: '1', // the default depends on the number of cores
      KOLBAK_DATA_DIR: dataDir,
      KOLBAK_ADMIN_CLIENT_ID: admin.id,
      KOLBAK_ADMIN_CLIENT_SECRET: admin.secret,
      KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
      KOLBAK_REQUESTS_PER_SECOND: '100000', // the limit is high, because tests poll every 10 ms
      ...variables,
    },
  })
  const logLines: LogLine[] = []
  const errors: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    try {
      logLines.push(JSON.parse(line) as LogLine)
    } catch {
      logLines.push({ msg: line })
    }
  })
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => resolve(code))
  })
  return { child, logLines, errors, exited }
}

/** Starts the service and waits until it logs that it is ready. */
export async function startService(dataDir: string, variables: Record<string, string> = {}): Promise<RunningService> {
  const engines = await enginesFor(variables.DATABASE_URL ?? dataDir)
  const isOwnFolder = variables.DATABASE_URL === undefined && variables.KOLBAK_DATA_DIR === undefined
  if (isOwnFolder && !existsSync(join(dataDir, 'postgres'))) await copyInitialised(dataDir)
  const { child, logLines, errors, exited } = spawnService(dataDir, { ...engines, ...variables })
  const endedEarly = exited.then((code) => {
    throw new Error(`The service ended with ${code} before it was ready: ${errors.join('\n')}`)
  })
  const isReady = () => logLines.find((line) => line.msg === 'kolbak.ready')
  const ready = await Promise.race([waitFor(isReady, { what: 'the service to be ready' }), endedEarly]).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  return {
    url: String(ready.url),
    child,
    logLines,
    async kill(signal) {
      child.kill(signal)
      return exited
    },
  }
}

export const isRunning = ({ child }: RunningService): boolean => child.exitCode === null && child.signalCode === null

/**
 * Removes a data folder. It retries, because the Postgres of a killed service may still write into the folder. That Postgres ends by itself when its
 * folder is gone.
 */
export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
