import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, policies, types } from 'cassandra-driver'
import { freePorts } from '../../free-ports.ts'
import { waitFor } from '../../wait-for.ts'
import { jarsOf } from '../jars.ts'
import { createJavaProcess } from '../java-process.ts'
import { configuration, javaArguments } from './command.ts'

export interface CassandraNode {
  freeze(): void
  thaw(): void
}
export interface CassandraCluster {
  readonly contactPoints: readonly string[]
  readonly localDataCenter: string
  readonly nodes: readonly CassandraNode[]
  /** Waits until each node reaches both others, so that the next fault meets a whole cluster. */
  complete(): Promise<void>
  /** Ends all nodes and removes their data. */
  stop(): Promise<void>
}

const localDataCenter = 'datacenter1'
/** The nodes need separate addresses, because all nodes of a cluster have the same ports. Linux has all addresses of 127.0.0.0/8. */
const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
/** Half of the number of all tokens. */
const maxToken = 2n ** 63n

/** Starts a Cassandra of three nodes, which takes about 30 s. The nodes do not keep their latest writes when they are killed. */
export async function startCassandraCluster(): Promise<CassandraCluster> {
  const jars = await jarsOf('cassandra')
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-cassandra-cluster-'))
  const [cqlPort, storagePort] = (await freePorts(2)) as [number, number]
  const servers = await Promise.all(
    addresses.map(async (address, i) => {
      const nodeFolder = join(folder, String(i))
      await mkdir(nodeFolder)
      const cluster = { address, seed: addresses[0]!, token: -maxToken + ((2n * maxToken) / 3n) * BigInt(i) }
      const settings = { cqlPort, storagePort, withPasswords: false, isDurable: false, certificate: undefined, cluster }
      await writeFile(join(nodeFolder, 'cassandra.yaml'), configuration(settings))
      return createJavaProcess(
        () => javaArguments({ jars, folder: nodeFolder, isDurable: false, heapMb: 384, ringDelayMs: 20_000 }),
        nodeFolder,
      )
    }),
  )
  const stop = async () => {
    await Promise.all(servers.map((server) => server.end('SIGKILL')))
    await rm(folder, { recursive: true, force: true })
  }
  const contactPoints = addresses.map((address) => `${address}:${cqlPort}`)
  /** Waits for a probe that fails at first. Throws at once if a server that was started has ended. */
  const wait = async (what: string, started: typeof servers, probe: () => Promise<unknown>) => {
    const hasEnded = () => started.some((server) => !server.isRunning())
    await waitFor(async () => hasEnded() || (await probe()), { what })
    if (hasEnded()) throw new Error('a node of Cassandra has ended')
  }
  const complete = () => wait('three nodes of Cassandra to reach each other', servers, () => Promise.all(contactPoints.map(reachesAll)))
  try {
    // The first node starts alone, because the others learn of each other from it.
    const [first, ...otherServers] = servers
    first!.start()
    await wait('the first node of Cassandra', servers.slice(0, 1), () => createProbe(contactPoints[0]!))
    for (const server of otherServers) server.start()
    await complete()
  } catch (cause) {
    const printed = servers.map((server) => server.output()).join('\n')
    await stop()
    throw new Error(`the cluster of Cassandra did not start:\n${printed}`, { cause })
  }
  return {
    contactPoints,
    localDataCenter,
    nodes: servers.map(({ freeze, thaw }) => ({ freeze, thaw })),
    complete,
    stop,
  }
}

/** Runs work with a client that sends every statement to this node. */
async function withNode<T>(contactPoint: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    contactPoints: [contactPoint],
    localDataCenter,
    protocolOptions: { port: Number(contactPoint.split(':')[1]) },
    policies: { loadBalancing: new policies.loadBalancing.AllowListPolicy(new policies.loadBalancing.RoundRobinPolicy(), [contactPoint]) },
    socketOptions: { connectTimeout: 5_000, readTimeout: 30_000 },
  })
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.shutdown()
  }
}
/** Creates a table of which every node has a copy. */
const createProbe = (contactPoint: string): Promise<boolean> =>
  withNode(contactPoint, async (client) => {
    await client.execute("create keyspace if not exists probe with replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
    await client.execute('create table if not exists probe.writes (id int primary key)')
    return true
  })
/** Returns whether a write through this node reaches all nodes. The node refuses the write if it takes another node for dead. */
const reachesAll = (contactPoint: string): Promise<boolean> =>
  withNode(contactPoint, async (client) => {
    await client.execute('insert into probe.writes (id) values (0)', [], { consistency: types.consistencies.all })
    return true
  })
