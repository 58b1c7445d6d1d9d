import { chmod, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openCluster } from '../../src/adapters/postgres/embedded-cluster.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type CassandraCluster, startCassandraCluster } from '../support/engines/cassandra/cluster.ts'
import { type KafkaCluster, startKafkaCluster } from '../support/engines/kafka/cluster.ts'
import { type StoreCluster, startStoreCluster } from '../support/event-store-server.ts'
import { freePort } from '../support/free-ports.ts'
import { startReceiver } from '../support/receiver.ts'
import { fixedKeys, isRunning, type RunningService, removeFolder, spawnService, startService } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Arrivals, recordArrivals } from './ledger.ts'

export type Role = 'api' | 'dispatcher' | 'projector'

/** A process with one role. */
export interface Member {
  readonly role: Role
  readonly service: RunningService
  /** The id under which it has leases in the database. */
  readonly id: string
}
export interface Postgres {
  readonly url: string
  start(): Promise<void>
  stop(): Promise<void>
  query(sql: string): Promise<Record<string, unknown>[]>
}
/** Kolbak on a cluster of every engine: two processes with the role `api`, three dispatchers and two projectors, with the default configuration. */
export interface Deployment {
  readonly kafka: KafkaCluster
  readonly cassandra: CassandraCluster
  readonly store: StoreCluster
  readonly postgres: Postgres
  /** The requests that have arrived at the receiver, to which all events are delivered. */
  readonly arrivals: Arrivals
  /** The processes that run, the oldest first. */
  members(role?: Role): readonly Member[]
  /** Starts another process and waits until it is ready. */
  start(role: Role): Promise<Member>
  /** Starts a process of the role without waiting. The caller ends it. */
  spawn(role: Role): ReturnType<typeof spawnService>
  /** Ends a process. */
  end(member: Member, signal: NodeJS.Signals): Promise<void>
  /** Raises the number of partitions for processes that start from now on. */
  addPartitions(count: number): void
  /** Waits until every process is ready and the engines are whole. */
  whole(): Promise<void>
  stop(): Promise<void>
}

export const topic = 'messages'
const metricsToken = 'a-metrics-token-of-the-cluster-tests'
/** The number of processes of each role. Projectors start first, because the others wait until the read models are built. */
const numbers: readonly (readonly [Role, number])[] = [
  ['projector', 2],
  ['dispatcher', 3],
  ['api', 2],
]

/** Starts everything, which takes about a minute. */
export async function startDeployment(): Promise<Deployment> {
  const stops: (() => Promise<unknown>)[] = []
  const stop = async () => {
    for (const stopPart of stops.splice(0).reverse()) await stopPart()
  }
  try {
    return { ...(await startParts(stops)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** @param stops gets a function for each part that runs */
async function startParts(stops: (() => Promise<unknown>)[]): Promise<Omit<Deployment, 'stop'>> {
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-cluster-'))
  await chmod(folder, 0o711) // as root, Postgres runs as another user
  stops.push(() => removeFolder(folder))
  const started = async <T extends { stop(): Promise<unknown> }>(starting: Promise<T>): Promise<T> => {
    const part = await starting
    stops.push(() => part.stop())
    return part
  }
  const postgres = await started(startPostgres(folder))
  const cassandra = await started(startCassandraCluster())
  const [kafka, store] = await Promise.all([started(startKafkaCluster()), started(startStoreCluster())])
  const receiver = await startReceiver()
  stops.push(() => receiver.close())

  const variables: Record<string, string> = {
    ...fixedKeys,
    DATABASE_URL: postgres.url,
    EVENTSTOREDB_URL: store.url,
    KAFKA_BROKERS: kafka.brokers.join(','),
    KAFKA_TOPIC: topic,
    CASSANDRA_CONTACT_POINTS: cassandra.contactPoints.join(','),
    CASSANDRA_DATACENTER: cassandra.localDataCenter,
    KOLBAK_PARTITIONS: '8',
    KOLBAK_METRICS_TOKEN: metricsToken,
  }
  const members = new Set<Member>()
  stops.push(() => Promise.all([...members].filter(({ service }) => isRunning(service)).map((member) => end(member, 'SIGKILL'))))
  const end = async (member: Member, signal: NodeJS.Signals) => {
    members.delete(member)
    const ended = member.service.kill(signal)
    member.service.child.kill('SIGCONT') // a frozen process could not end
    await ended
  }
  const start = async (role: Role): Promise<Member> => {
    const service = await startService(folder, { ...variables, KOLBAK_ROLES: role })
    // Ids are ordered by the time at which their processes started.
    const [newest] = await postgres.query('select max(id) as id from live_processes')
    const member = { role, service, id: String(newest!.id) }
    members.add(member)
    return member
  }
  for (const [role, count] of numbers) for (let i = 0; i < count; i++) await start(role)
  const ofRole = (role?: Role) => [...members].filter((member) => role === undefined || member.role === role)
  const admin = await clientOf(ofRole('api')[0]!.service.url)
  await admin.post('/v1/webhooks', { callback_url: receiver.url('/'), event: 'load.*' })
  return {
    ...{ kafka, cassandra, store, postgres, start, end },
    arrivals: recordArrivals(receiver, '/'),
    members: ofRole,
    spawn: (role) => spawnService(folder, { ...variables, KOLBAK_ROLES: role }),
    addPartitions(count) {
      variables.KOLBAK_PARTITIONS = String(Number(variables.KOLBAK_PARTITIONS) + count)
    },
    async whole() {
      await Promise.all([kafka.inSync(), cassandra.complete(), store.leader()])
      for (const { role, service } of members)
        await waitFor(async () => (await problemsOf(service.url)).length === 0, { what: `a process with the role ${role} to be ready` })
    },
  }
}

/** Returns the names of the checks that make a process not ready. The list is empty if it is ready. */
export async function problemsOf(url: string): Promise<string[]> {
  const response = await fetch(`${url}/health/ready`, { headers: { authorization: `Bearer ${metricsToken}` } })
  const { error } = (await response.json()) as { error: { details: { path: string }[] } | null }
  return (error?.details ?? []).map((detail) => detail.path)
}

/** Starts a Postgres that can be stopped and started again on the same port. */
async function startPostgres(folder: string): Promise<Postgres> {
  const cluster = await openCluster(folder, silentLog)
  const port = await freePort()
  const start = () => cluster.start(port, ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=300'])
  const url = cluster.urlFor(port, 'kolbak')
  await start()
  process.once('exit', cluster.stopAtExit)
  const client = await cluster.connect(port, { name: 'cluster tests', statementTimeoutMs: 0 })
  await client.query('create database kolbak')
  await client.end()
  return {
    url,
    start,
    async stop() {
      if ((await cluster.runningPort()) !== null) await cluster.stop()
    },
    async query(sql) {
      const connection = new pg.Client({ connectionString: url })
      await connection.connect()
      try {
        return (await connection.query<Record<string, unknown>>(sql)).rows
      } finally {
        await connection.end()
      }
    },
  }
}
