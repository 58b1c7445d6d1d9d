import { freshDatabase, type TestDatabase } from './database.ts'
import { enginesFor } from './engine-sets.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { givenKeys, isRunning, type RunningService, removeFolder, spawnService, startService, temporaryFolder } from './service.ts'
import type { Client, WebhookAnswer } from './service-client.ts'

/*
 * Everything here begins and ends what the tests of a suite use. It is called in the body of a suite, because it registers hooks.
 */

type Variables = Record<string, string>

export interface Surroundings {
  /** Whether everything is new for each test. By default it is new for the suite. */
  readonly each?: boolean
  /** Whether the processes share a database that is given to them. By default a process starts a Postgres of its own. */
  readonly givenDatabase?: boolean
  /** Variables of all processes. A function is called at each start. */
  readonly variables?: Variables | (() => Variables)
}

/** Returns an object under a name for the whole body of a suite. It exists once the suite runs. */
const later = <T extends object>(current: () => T): T => new Proxy({} as T, { get: (_, name) => Reflect.get(current(), name) })

const hooks = (each: boolean) => (each ? ([beforeEach, afterEach] as const) : ([before, after] as const))

/** A receiver. It closes before the services end, so that requests under way do not hold them up. */
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
  /** The database that is given to the processes. */
  readonly db: TestDatabase
  /** The data folder of the process that runs alone. A process beside another one has a folder of its own. */
  readonly dataDir: string
  /** The variables of a process, for programs that run beside it or after it. */
  variables(more?: Variables): Variables
  /** Starts a process and waits until it is ready. */
  start(more?: Variables): Promise<RunningService>
  /** Starts a process and does not wait for it. The caller ends it. */
  spawn(more?: Variables): Promise<ReturnType<typeof spawnService>>
  /** Subscribes a path of the receiver to the events that `startLoad` posts. */
  subscribe(api: Client, path: string): Promise<WebhookAnswer>
  /** Starts a process that cannot run as configured. Returns its exit code and what it wrote to stderr. */
  failToStart(more?: Variables): Promise<{ code: number | null; said: string }>
}

/** A receiver and processes of the service, which each test starts. */
export function withServices({ each = false, givenDatabase = false, variables = {} }: Surroundings = {}): Services {
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
    db = givenDatabase ? await freshDatabase() : undefined
  })
  end(async () => {
    await Promise.all(started.filter(isRunning).map((service) => service.kill('SIGTERM')))
    await Promise.all(folders.map(removeFolder))
    await db?.drop()
  })
  const all: Services['variables'] = (more = {}) => ({
    ...(db === undefined ? {} : { DATABASE_URL: db.url, ...givenKeys }),
    ...(typeof variables === 'function' ? variables() : variables),
    ...more,
  })
  const spawn: Services['spawn'] = async (more) => {
    const own = all(more)
    return spawnService(dataDir, { ...(await enginesFor(own.DATABASE_URL ?? dataDir)), ...own })
  }
  return {
    receiver,
    get db() {
      if (db === undefined) throw new Error('these services have no database that is given')
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
      return { code: await exited, said: errors.join('\n') }
    },
  }
}

export interface Restartable extends RunningService {
  readonly dataDir: string
  /** Starts a process on the same data after the last one has ended. From then on `service` is the new process. */
  restart(more?: Variables): Promise<void>
}

/** A receiver and one process of the service, which runs when a test begins. `services` starts others beside it. */
export function withService(surroundings: Surroundings = {}): {
  readonly service: Restartable
  readonly receiver: Receiver
  readonly services: Services
} {
  const services = withServices(surroundings)
  let service: Restartable
  const start = async (more?: Variables) => {
    service = { ...(await services.start(more)), dataDir: services.dataDir, restart: start }
  }
  const [begin] = hooks(surroundings.each ?? false)
  begin(() => start())
  return { service: later(() => service), receiver: services.receiver, services }
}
