import { createHash } from 'node:crypto'
import { type Cassandra, sharedCassandra, startCassandra } from './engines/cassandra.ts'
import { needsEngines } from './engines/jars.ts'
import { startKafka } from './engines/kafka.ts'
import { type StoreServer, startStoreServer } from './event-store-server.ts'

/** Returns the Cassandra that all suites share, or the one of a suite that kills it. */
let cassandra: () => Promise<Cassandra> = sharedCassandra

export type Engine = 'eventstoredb' | 'kafka' | 'cassandra'
type Variables = Record<string, string>

/** The engines behind the ports of services that start from now on. The other ports are on Postgres. */
let current: readonly Engine[] = []
/** The variables of engines by the service's database, because processes that share a database also share the engines. */
const variablesByDatabase = new Map<string, Promise<Variables>>()
const stores = new Map<string, Promise<StoreServer>>()
const keyspaces: string[] = []

/** Returns the variables that give a service the current engines. The service has its own topic, keyspace or store there. */
export function enginesFor(database: string): Promise<Variables> {
  const variables = variablesByDatabase.get(database) ?? startEngines(database, current)
  variablesByDatabase.set(database, variables)
  return variables
}
async function startEngines(database: string, engines: readonly Engine[]): Promise<Variables> {
  const name = `e2e_${createHash('sha256').update(database).digest('hex').slice(0, 12)}`
  const variables: Variables = {}
  if (engines.includes('eventstoredb')) {
    const starting = startStoreServer({ isEmpty: true })
    stores.set(database, starting)
    variables.EVENTSTOREDB_URL = (await starting).url
  }
  if (engines.includes('kafka')) {
    const { brokers } = await startKafka()
    Object.assign(variables, {
      KAFKA_BROKERS: brokers.join(','),
      KAFKA_TOPIC: name,
      KAFKA_GROUP_ID: name,
      KAFKA_REPLICATION_FACTOR: '1',
      KAFKA_MIN_INSYNC_REPLICAS: '1',
      KAFKA_SESSION_TIMEOUT_MS: '6000',
    })
  }
  if (engines.includes('cassandra')) {
    const { contactPoints, localDataCenter } = await cassandra()
    keyspaces.push(name)
    Object.assign(variables, {
      CASSANDRA_CONTACT_POINTS: contactPoints.join(','),
      CASSANDRA_DATACENTER: localDataCenter,
      CASSANDRA_KEYSPACE: name,
      CASSANDRA_REPLICATION: '1',
    })
  }
  return variables
}
/** Returns the EventStoreDB of a service, so that a test can cause faults in it. */
export const eventStoreOf = (database: string): Promise<StoreServer> =>
  stores.get(database) ?? Promise.reject(new Error('this service has no EventStoreDB of its own'))

export async function useEngines(engines: readonly Engine[]): Promise<void> {
  current = engines
  await Promise.all([engines.includes('kafka') ? startKafka() : null, engines.includes('cassandra') ? cassandra() : null])
}
/** Makes later services use Postgres for every port, and ends the engines of earlier services. */
export async function endEngines(): Promise<void> {
  current = []
  for (const starting of stores.values())
    await starting.then(
      (store) => store.stop(),
      () => undefined, // the test that started it has reported the error
    )
  stores.clear()
  variablesByDatabase.clear()
  if (keyspaces.length === 0) return
  const server = await cassandra()
  for (const keyspace of keyspaces.splice(0)) await server.query(`drop keyspace if exists ${keyspace}`)
}

/**
 * Gives a suite its own Cassandra, which keeps acknowledged writes when it is killed. The shared Cassandra is faster and does not keep them.
 * Call it in the body of the suite that contains the suites on the engines. The returned function returns the server once the suite runs.
 */
export function withDurableCassandra(): () => Promise<Cassandra> {
  let ownServer: Promise<Cassandra> | undefined
  before(async function () {
    await needsEngines(this, ['cassandra'])
    ownServer = startCassandra()
    cassandra = () => ownServer!
    await ownServer
  })
  after(async () => {
    await endEngines() // the engines' keyspaces are on this server
    cassandra = sharedCassandra
    await (await ownServer)?.stop()
  })
  return () => cassandra()
}

/** Defines a suite whose services use these engines. The suite is skipped, with the reason, if an engine cannot be started. */
export function describeOn(title: string, engines: readonly Engine[], define: (this: Mocha.Suite) => void, register = describe): void {
  register(`${title} (on ${engines.join(', ')})`, function () {
    before(async function () {
      await needsEngines(this, engines)
      await useEngines(engines)
    })
    after(endEngines)
    define.call(this)
  })
}

/** Registers the suites of test files once more, on these engines, without a change in the files. */
export async function scenariosOn(engines: readonly Engine[], files: readonly URL[]): Promise<void> {
  const original = globalThis.describe
  const onBothEngines = (title: string, define: (this: Mocha.Suite) => void) => {
    globalThis.describe = original // nested suites use the original function
    try {
      describeOn(title, engines, define, original)
    } finally {
      globalThis.describe = Object.assign(onBothEngines, original)
    }
  }
  globalThis.describe = Object.assign(onBothEngines, original)
  try {
    // A module with another URL is evaluated again.
    for (const file of files) await import(`${file.href}?on=${engines.join('-')}`)
  } finally {
    globalThis.describe = original
  }
}
