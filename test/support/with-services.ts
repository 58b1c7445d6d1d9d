import { freshDatabase, type TestDatabase } from './database.ts'
import { enginesFor } from './engine-sets.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { fixedKeys, isRunning, type RunningService, removeFolder, spawnService, startService, temporaryFolder } from './service.ts'
import type { Client, WebhookResponse } from './service-client.ts'

/*
 * These functions start and stop the services and receivers of a suite. Call them in the body of a suite, because they register hooks.
 */

type Variables = Record<string, string>

export interface Surroundings {
  /** Whether each test gets new services and receivers. By default all tests of the suite share them. */
  readonly each?: boolean
  /** Whether all processes get the same DATABASE_URL. By default, each process starts its own Postgres. */
  readonly sharedDatabase?: boolean
  /** The variables of all processes. A function is called at each start of a process. */
  readonly variables?: Variables | (() => Variables)
}

/** Returns a proxy for an object that a hook creates later, so that the body of a suite can already refer to the object. */
const later = <T extends object>(current: () => T): T => new Proxy({} as T, { get: (_, name) => Reflect.get(current(), name) })

const hooks = (each: boolean) => (each ? ([beforeEach, afterEach] as const) : ([before, after] as const))

/** Starts a receiver for the suite. The receiver closes before the services stop, so that its open requests do not delay them. */
export function withReceiver({ each = false, tls = false } = {}): Receiver {
  let receiver: Receiver
  const [begin, end] = hooks(each)
  begin(async () => {
    receiver = await startReceiver({ tls })
  })
  end(() => receiver.close())
  return later(() => receiver)
}

export interface Services {
  readonly receiver: Receiver
  /** The database in the processes' DATABASE_URL. Throws if they have none. */
  readonly db: TestDatabase
  /** The data folder of the first process. A process that starts while another one runs has its own folder. */
  readonly dataDir: string
  /** Returns the environment variables that `start` would give to a process. Tests give them to other programs, such as the command line. */
  variables(more?: Variables): Variables
  /** Starts a process and waits until it is ready. */
  start(more?: Variables): Promise<RunningService>
  /** Starts a process and does not wait until it is ready. The caller ends the process. */
  spawn(more?: Variables): Promise<ReturnType<typeof spawnService>>
  /** Subscribes a path of the receiver to the events that `startLoad` posts. */
  subscribe(api: Client, path: string): Promise<WebhookResponse>
  /** Starts a process that cannot run as configured. Returns its exit code and its output on stderr. */
  failToStart(more?: Variables): Promise<{ code: number | null; stderr: string }>
}

/** Starts a receiver for the suite. The tests start the processes of the service themselves. */
export function withServices({ each = false, sharedDatabase = false, variables = {} }: Surroundings = {}): Services {
  const receiver = withReceiver({ each })
  let dataDir: string
  let db: TestDatabase | undefined
  let started: RunningService[]
  let folders: string[]
  let isDataDirTaken: () => boolean
  const [begin, end] = hooks(each)
  begin(async () => {
    started = []
    isDataDirTaken = () => false
    dataDir = await temporaryFolder()
    folders = [dataDir]
    db = sharedDatabase ? await freshDatabase() : undefined
  })
  end(async () => {
    await Promise.all(started.filter(isRunning).map((service) => service.kill('SIGTERM')))
    await Promise.all(folders.map(removeFolder))
    await db?.drop()
  })
  const all: Services['variables'] = (more = {}) => ({
    ...(db === undefined ? {} : { DATABASE_URL: db.url, ...fixedKeys }),
    ...(typeof variables === 'function' ? variables() : variables),
    ...more,
  })
  const spawn: Services['spawn'] = async (variables) => {
    const allVariables = all(variables)
    return spawnService(dataDir, { ...(await enginesFor(allVariables.DATABASE_URL ?? dataDir)), ...allVariables })
  }
  return {
    receiver,
    get db() {
      if (db === undefined) throw new Error('these services have no DATABASE_URL')
      return db
    },
    get dataDir() {
      return dataDir
    },
    variables: all,
    async start(more) {
      if (isDataDirTaken()) {
        const folder = await temporaryFolder()
        folders.push(folder)
        const beside = await startService(folder, all(more))
        started.push(beside)
        return beside
      }
      isDataDirTaken = () => true
      const starting = startService(dataDir, all(more))
      const service = await starting.finally(() => {
        isDataDirTaken = () => false
      })
      isDataDirTaken = () => isRunning(service)
      started.push(service)
      return service
    },
    spawn,
    subscribe: (api, path) => api.post('/v1/webhooks', { callback_url: receiver.url(path), event: 'load.*' }),
    async failToStart(more) {
      const { errors, exited } = await spawn(more)
      return { code: await exited, stderr: errors.join('\n') }
    },
  }
}

export interface Restartable extends RunningService {
  readonly dataDir: string
  /** Starts a new process on the same data after the last process has ended. From then on, `service` is the new process. */
  restart(more?: Variables): Promise<void>
}

/** Starts a receiver and one process of the service for the suite. `services` starts other processes beside it. */
export function withService(surroundings: Surroundings = {}): {
  readonly service: Restartable
  readonly receiver: Receiver
  readonly services: Services
} {
  const services = withServices(surroundings)
  let service: Restartable
  const start = async (variables?: Variables) => {
    service = { ...(await services.start(variables)), dataDir: services.dataDir, restart: start }
  }
  const [begin] = hooks(surroundings.each ?? false)
  begin(() => start())
  return { service: later(() => service), receiver: services.receiver, services }
}
