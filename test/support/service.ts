import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '../../src/adapters/postgres/embedded.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { silentLog } from '../../src/lib/log.ts'
import { enginesFor } from './engine-sets.ts'
import { giveUpAfterMs } from './patience.ts'
import { waitFor } from './wait-for.ts'

export const admin = { id: 'admin', secret: 'a-secret-of-the-tests-that-is-long-enough' }

/** For services on a Postgres that is given: all that share one have these. */
export const givenKeys = {
  KOLBAK_MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
  KOLBAK_JWT_SECRET: Buffer.alloc(32, 2).toString('base64'),
}

export interface Fact {
  readonly msg: string
  readonly [field: string]: unknown
}
/** The service as a user runs it: a process of its own. */
export interface RunningService {
  readonly url: string
  readonly child: ChildProcess
  /** What it has logged, in order. */
  readonly facts: readonly Fact[]
  kill(signal: NodeJS.Signals): Promise<number | null>
}

const main = join(import.meta.dirname, '../../src/main.ts')

export const temporaryFolder = () => mkdtemp(join(tmpdir(), 'kolbak-e2e-'))

let initialised: Promise<string> | undefined
/** A Postgres that was initialised and migrated once: those of the services are copies, which takes a tenth of the time. */
const initialise = async (): Promise<string> => {
  const folder = await temporaryFolder()
  const postgres = await startEmbeddedPostgres({ dataDir: folder, log: silentLog })
  await migrate(postgres.url)
  await postgres.stop()
  return folder
}
export const removeInitialised = async (): Promise<void> => {
  if (initialised !== undefined) await rm(await initialised, { recursive: true, force: true })
}

/** Starts a process of the service and collects what it logs; does not wait for it. */
export function spawnService(dataDir: string, variables: Record<string, string> = {}) {
  const inherited = Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(KOLBAK_|KAFKA_|CASSANDRA_|EVENTSTOREDB_|DATABASE_URL|PORT$|HOST$)/.test(name)),
  )
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...inherited,
      PORT: '0',
      KOLBAK_PROCESSES: '1', // whatever the machine has
      KOLBAK_DATA_DIR: dataDir,
      KOLBAK_ADMIN_CLIENT_ID: admin.id,
      KOLBAK_ADMIN_CLIENT_SECRET: admin.secret,
      KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
      KOLBAK_REQUESTS_PER_SECOND: '100000', // tests look again every 10 ms
      ...variables,
    },
  })
  const facts: Fact[] = []
  const errors: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    try {
      facts.push(JSON.parse(line) as Fact)
    } catch {
      facts.push({ msg: line })
    }
  })
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => resolve(code))
  })
  return { child, facts, errors, exited }
}

/** Starts the service and waits until it says that it is ready. */
export async function startService(dataDir: string, variables: Record<string, string> = {}): Promise<RunningService> {
  const engines = await enginesFor(variables.DATABASE_URL ?? dataDir)
  if (variables.DATABASE_URL === undefined && !existsSync(join(dataDir, 'postgres'))) {
    initialised ??= initialise()
    await promisify(execFile)('cp', ['-a', `${await initialised}/.`, dataDir]) // with the owner that Postgres runs as
  }
  const { child, facts, errors, exited } = spawnService(dataDir, { ...engines, ...variables })
  const ready = await waitFor(
    () => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${errors.join('\n')}`)
      return facts.find((fact) => fact.msg === 'kolbak.ready')
    },
    { what: 'the service to be ready' },
  ).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  return {
    url: String(ready.url),
    child,
    facts,
    async kill(signal) {
      child.kill(signal)
      return exited
    },
  }
}

/** Ends a service and whatever Postgres it has left behind, and removes its folder. */
export async function endService(service: RunningService | undefined, dataDir: string): Promise<void> {
  if (service !== undefined && service.child.exitCode === null && service.child.signalCode === null) await service.kill('SIGTERM')
  await rm(dataDir, { recursive: true, force: true })
}

export interface Answer<T = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
}
/** A client of the API. */
export interface Client {
  readonly token: string
  call<T>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<T>>
  get<T>(path: string): Promise<T>
  post<T>(path: string, body: unknown): Promise<T>
  patch<T>(path: string, body: unknown): Promise<T>
}

export async function clientOf(url: string, credentials = admin): Promise<Client> {
  let token = ''
  const call = async <T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer<T>> => {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const answer = { status: response.status, headers: response.headers, body: (text === '' ? null : JSON.parse(text)) as T }
    if (answer.headers.has('projection-lag')) await untilReadable(method, path, answer)
    return answer
  }
  /** The API answers a change after a second even when its read model is behind. On a busy machine it is, so the test waits longer. */
  const untilReadable = async (method: string, path: string, { headers, body }: Answer): Promise<void> => {
    const { id, data } = (body ?? {}) as { id?: string; data?: { id?: string } }
    const created = id ?? data?.id
    if (method === 'POST' && created === undefined) return
    const resource = method === 'POST' ? `${path}/${created}` : path.split('?')[0]!
    await waitFor(
      async () => {
        const read = await call('GET', resource)
        return method === 'DELETE' ? read.status === 404 : read.headers.get('etag') === headers.get('etag')
      },
      { what: `${method} ${path} to be readable` },
    )
  }
  const expectSuccess = <T>(method: string, path: string, answer: Answer<T>): T => {
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const must = async <T>(method: string, path: string, body?: unknown): Promise<T> =>
    expectSuccess(method, path, await call<T>(method, path, body))
  const { access_token } = await must<{ access_token: string }>('POST', '/v1/auth', {
    grant_type: 'client_credentials',
    client_id: credentials.id,
    client_secret: credentials.secret,
  })
  token = access_token
  return {
    token,
    call,
    async get<T>(path: string) {
      const startedAt = performance.now()
      for (;;) {
        const answer = await call<T>('GET', path)
        // An event that is not routed yet.
        const isTooEarly = answer.status === 404 && answer.headers.has('retry-after')
        if (!isTooEarly || performance.now() - startedAt > giveUpAfterMs) return expectSuccess('GET', path, answer)
        await sleep(100)
      }
    },
    post: (path, body) => must('POST', path, body),
    patch: (path, body) => must('PATCH', path, body),
  }
}

/** What the tests read of the API's answers. */
export interface WebhookAnswer {
  id: string
  callback_url: string
  event: string
  is_active: boolean
  secret: string
  deactivation_reason: string | null
  failing_since: string | null
}
export interface AttemptAnswer {
  number: number
  chain: number
  at: string
  status: string
  response_code: number | null
  duration_ms: number | null
  reason: string | null
  response_body: string | null
  response_truncated: boolean
}
export interface DeliveryAnswer {
  id: string
  event_id: string
  webhook_id: string
  status: string
  chain: number
  attempt_count: number
  next_attempt_at: string | null
  last_response_code: number | null
  last_reason: string | null
  attempts: AttemptAnswer[]
}
export interface Page<T> {
  data: T[]
  pagination: { limit: number; next_cursor: string | null }
}

/** All of a webhook's deliveries, of one status or of any. */
export async function allDeliveries(api: Client, webhook: string, status?: string): Promise<DeliveryAnswer[]> {
  const all: DeliveryAnswer[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const from: string = `${status === undefined ? '' : `&status=${status}`}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const page: Page<DeliveryAnswer> = await api.get(`/v1/webhooks/${webhook}/deliveries?limit=100${from}`)
    all.push(...page.data)
    cursor = page.pagination.next_cursor
  }
  return all
}
