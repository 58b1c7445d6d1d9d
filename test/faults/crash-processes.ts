import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startWitness, type Witness } from '../../src/cli/witness.ts'
import { unrecordedPerSlot } from '../../src/dispatch/slots.ts'
import { type Crash, writePlan } from '../support/crash-at.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { enginesFor } from '../support/engine-sets.ts'
import { freePort } from '../support/free-ports.ts'
import { soonTakenOver } from '../support/patience.ts'
import { type Ended, runProgram } from '../support/programs.ts'
import { fixedKeys, type LogLine, spawnService, temporaryFolder } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'

type Child = ReturnType<typeof spawnService>

/** A process of the service that is started again at the same address whenever it dies, as a supervisor does. */
export interface Supervised {
  readonly roles: string
  readonly url: string
  /** The lines of its log since its first start. */
  readonly logLines: readonly LogLine[]
  /** The number of its deaths so far. */
  readonly deaths: number
  signal(signal: NodeJS.Signals): void
  /** Resolves when the process that runs now is ready. */
  ready(): Promise<void>
  stop(): Promise<void>
}
export interface Processes {
  readonly all: readonly Supervised[]
  /** The URLs of the API. */
  readonly urls: readonly string[]
  readonly deaths: number
  /** Descriptions of starts and drains that failed. A kill is no failure. */
  readonly failures: string[]
  ready(): Promise<void>
  /** Runs `kolbak audit verify` beside the processes. */
  verify(): Promise<Ended>
  /** Plans deaths, which happen one after another (support/crash-at.ts). An empty list cancels the deaths that have not happened. */
  plan(crashes: readonly Crash[]): Promise<void>
  stop(): Promise<void>
}

const preloaded = join(import.meta.dirname, '../support/crash-at.ts')
/** The most requests that a process has in flight. */
const maxInFlight = 64
/** The most requests that may be repeated after the death of a process: those in flight, and those whose attempts were not recorded yet (decision 9). */
export const mostRepeated = maxInFlight * (1 + unrecordedPerSlot)
const variablesOfAll = {
  NODE_OPTIONS: `--import ${preloaded}`,
  ...soonTakenOver,
  KOLBAK_MAX_IN_FLIGHT: String(maxInFlight),
  // A large batch does not fit into this memory, so that some of its deliveries are parked.
  KOLBAK_MAX_WAITING_BYTES: String(1 << 16),
  KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3,0.3,0.3,0.3',
  KOLBAK_LOG_HEAD_SECONDS: '1',
  KOLBAK_LOG_BATCH_SECONDS: '1',
  KOLBAK_LOG_LIST_SECONDS: '1',
  KOLBAK_LOG_SEND_SECONDS: '1',
  KOLBAK_LOG_WITNESS_SECONDS: '1',
}

/** Starts one process with all roles and its own Postgres. */
export async function startOneProcess(): Promise<Processes> {
  const dataDir = await temporaryFolder()
  return supervised([{ roles: 'api,dispatcher,projector', dataDir }], {}, dataDir, () => rm(dataDir, { recursive: true, force: true }))
}

/** Starts a process for each of these roles, on one database. */
export async function startRolesApart(roles: readonly string[]): Promise<Processes> {
  const db: TestDatabase = await freshDatabase()
  const folders = await Promise.all(roles.map(temporaryFolder))
  const variables = {
    DATABASE_URL: db.url,
    ...fixedKeys,
  }
  const starts = roles.map((role, i) => ({ roles: role, dataDir: folders[i]! }))
  return supervised(starts, variables, db.url, async () => {
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
    await db.drop()
  })
}

async function supervised(
  starts: readonly { roles: string; dataDir: string }[],
  variables: Record<string, string>,
  database: string,
  clean: () => Promise<void>,
): Promise<Processes> {
  const engines = await enginesFor(database)
  const folder = await temporaryFolder()
  const planFile = join(folder, 'plan.json')
  const plan = (crashes: readonly Crash[]) => writePlan(planFile, crashes)
  await plan([])
  const failures: string[] = []
  const all: Supervised[] = []
  const witness = await openWitness()
  const common = { ...engines, ...variablesOfAll, ...witness.variables, ...variables }
  for (const { roles, dataDir } of starts) {
    const port = await freePort()
    const ownVariables = { KOLBAK_ROLES: roles, PORT: String(port), CRASH_PLAN: planFile }
    const start = () => spawnService(dataDir, { ...common, ...ownVariables })
    all.push(supervise(roles, `http://127.0.0.1:${port}`, start, (why) => failures.push(`${roles}: ${why}`)))
  }
  return {
    all,
    urls: all.filter(({ roles }) => roles.includes('api')).map(({ url }) => url),
    get deaths() {
      return all.reduce((sum, { deaths }) => sum + deaths, 0)
    },
    failures,
    plan,
    async ready() {
      await Promise.all(all.map((process) => process.ready()))
      await witness.start(all.find(({ roles }) => roles.includes('api'))!.url)
    },
    verify() {
      const { NODE_OPTIONS: _, ...own } = common
      return runProgram('cli/kolbak.ts', ['audit', 'verify', '--batches', 'all'], { ...own, KOLBAK_DATA_DIR: starts[0]!.dataDir })
    },
    async stop() {
      await Promise.all(all.map((process) => process.stop()))
      await witness.close()
      await rm(folder, { recursive: true, force: true })
      await clean()
    },
  }
}

/** Opens a witness. It knows its log only after `start`, because the service is started with the key of the witness. */
async function openWitness() {
  const folder = await temporaryFolder()
  const options = { folder, name: 'w1', host: '127.0.0.1', port: await freePort() }
  const unused = await startWitness({ ...options, logs: [] })
  await unused.close()
  let witness: Witness | undefined
  return {
    variables: { KOLBAK_LOG_WITNESSES: `${unused.vkey}@http://127.0.0.1:${options.port}` },
    /** Makes it a witness of the log of this service. */
    async start(url: string) {
      if (witness !== undefined) return
      const api = await clientOf(url)
      const key = await waitFor(async () => {
        const { status, body } = await api.call<{ data: { key: string } }>('GET', '/v1/log')
        return status === 200 ? body.data.key : null
      })
      witness = await startWitness({ ...options, logs: [key] })
    },
    async close() {
      await witness?.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function supervise(roles: string, url: string, start: () => Child, onFailure: (why: string) => void): Supervised {
  const logLines: LogLine[] = []
  let stopped = false
  let deaths = 0
  const watch = (): Child => {
    const started = start()
    started.child.once('exit', (code, signal) => {
      logLines.push(...started.logLines)
      // A process may be killed, drain on a signal, or end at once on a second signal. Any other end is a failure.
      if (signal === null && code !== 0 && !started.logLines.some(({ msg }) => msg === 'kolbak.killed')) {
        const last = started.logLines.slice(-10).map((line) => JSON.stringify(line))
        onFailure(`ended with ${code}: ${[...started.errors, ...last].join('\n')}`)
      }
      if (stopped) return
      deaths++
      now = watch()
    })
    return started
  }
  let now = watch()
  return {
    roles,
    url,
    get logLines() {
      return [...logLines, ...now.logLines]
    },
    get deaths() {
      return deaths
    },
    signal: (signal) => now.child.kill(signal),
    async ready() {
      await waitFor(() => now.logLines.some(({ msg }) => msg === 'kolbak.ready'), { what: `${roles} to be ready` })
    },
    async stop() {
      stopped = true
      const { child } = now
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}
