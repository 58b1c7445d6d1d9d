import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { freePorts } from '../../free-ports.ts'
import { waitFor } from '../../wait-for.ts'
import { jarsOf } from '../jars.ts'
import { createJavaProcess } from '../java-process.ts'
import { clusterId, jvm } from './command.ts'
import { logging, settings } from './settings.ts'

/** A node of the cluster, which is broker and controller. */
export interface KafkaNode {
  readonly id: number
  freeze(): void
  thaw(): void
  /** Kills the node, as a crash would. */
  kill(): Promise<void>
  /** Starts the node again on the same data. Does not wait until it responds. */
  start(): void
}
export interface KafkaCluster {
  /** The addresses of all brokers as `host:port`. */
  readonly brokers: readonly string[]
  readonly nodes: readonly KafkaNode[]
  /** Returns the node that coordinates every consumer group. */
  coordinator(): Promise<KafkaNode>
  /** Returns the node that leads the most partitions of the topic, apart from the coordinator. */
  leaderOf(topic: string): Promise<KafkaNode>
  /** Waits until every partition has all its replicas in sync, so that the next fault meets a whole cluster. */
  inSync(): Promise<void>
  /** Ends all nodes and removes their files. */
  stop(): Promise<void>
}

const offsetsTopic = '__consumer_offsets'

/** Starts a Kafka of three nodes with Kafka's own time-outs. Every topic has three replicas, of which two must have a record. */
export async function startKafkaCluster(): Promise<KafkaCluster> {
  const jars = await jarsOf('kafka')
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-kafka-cluster-'))
  const ports = await freePorts(6)
  const members = [1, 2, 3].map((id) => ({ id, port: ports[id - 1]!, controllerPort: ports[id + 2]! }))
  const voters = members.map(({ id, controllerPort }) => `${id}@127.0.0.1:${controllerPort}`).join(',')
  const log4j = join(folder, 'log4j2.properties')
  await writeFile(log4j, logging)
  const java = [...jvm, `-Dlog4j2.configurationFile=${log4j}`, '-cp', join(jars, '*')]
  const processes = await Promise.all(
    members.map(async ({ id, port, controllerPort }) => {
      const properties = join(folder, `${id}.properties`)
      const logDir = join(folder, `log-${id}`)
      await writeFile(properties, settings({ logDir, port, controllerPort, secure: null, cluster: { id, voters } }))
      await promisify(execFile)('java', [...java, 'kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', properties])
      return createJavaProcess(() => ['-Xms64m', '-Xmx384m', ...java, 'kafka.Kafka', properties], folder)
    }),
  )
  const brokers = members.map(({ port }) => `127.0.0.1:${port}`)
  const nodes = processes.map(
    (node, i): KafkaNode => ({
      id: members[i]!.id,
      freeze: node.freeze,
      thaw: node.thaw,
      kill: () => node.end('SIGKILL'),
      start: node.start,
    }),
  )
  const stop = async () => {
    await Promise.all(processes.map((node) => node.end('SIGKILL')))
    await rm(folder, { recursive: true, force: true })
  }
  const partitionsOf = async (topic?: string) => {
    const { topics } = await withAdmin(brokers, async (admin) =>
      admin.fetchTopicMetadata({ topics: topic === undefined ? await admin.listTopics() : [topic] }),
    )
    return topics.flatMap(({ partitions }) => partitions)
  }
  const nodeOf = (id: number) => nodes.find((node) => node.id === id)!
  const coordinator = async () => nodeOf((await partitionsOf(offsetsTopic))[0]!.leader)
  for (const node of processes) node.start()
  try {
    await waitFor(async () => processes.some((node) => !node.isRunning()) || (await brokerCount(brokers)) === nodes.length, {
      what: 'three brokers to serve',
    })
    if (processes.some((node) => !node.isRunning())) throw new Error('a broker ended while it started')
  } catch (cause) {
    const printed = processes.map((node) => node.output()).join('\n')
    await stop()
    throw new Error(`the cluster of Kafka did not start:\n${printed}`, { cause })
  }
  return {
    brokers,
    nodes,
    coordinator,
    async leaderOf(topic) {
      const coordinatorId = (await coordinator()).id
      const partitions = await partitionsOf(topic)
      const ledBy = ({ id }: KafkaNode) => partitions.filter(({ leader }) => leader === id).length
      const otherNodes = nodes.filter(({ id }) => id !== coordinatorId)
      return otherNodes.reduce((most, node) => (ledBy(node) > ledBy(most) ? node : most))
    },
    async inSync() {
      const isInSync = async () =>
        (await brokerCount(brokers)) === nodes.length &&
        (await partitionsOf()).every(({ isr, leader }) => isr.length === nodes.length && leader > 0)
      await waitFor(isInSync, { what: 'all replicas to be in sync' })
    },
    stop,
  }
}

async function withAdmin<T>(brokers: readonly string[], work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 5_000,
    requestTimeout: 10_000,
    retry: { retries: 3 },
  }).admin()
  try {
    await admin.connect()
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}
const brokerCount = (brokers: readonly string[]): Promise<number> =>
  withAdmin(brokers, async (admin) => (await admin.describeCluster()).brokers.length)
