import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Kafka, logLevel } from 'kafkajs'
import { freePorts } from '../../free-ports.ts'
import { waitFor } from '../../wait-for.ts'
import { jarsOf } from '../jars.ts'
import { createJavaProcess } from '../java-process.ts'
import { makeCertificate } from './certificate.ts'
import { clusterId, jvm } from './command.ts'
import { logging, settings, user } from './settings.ts'

export interface KafkaServer {
  /** The addresses of the brokers as `host:port`. */
  readonly brokers: readonly string[]
  /** The listener with TLS and a login, if the server was started with `secure`. */
  readonly secure: { readonly brokers: readonly string[]; readonly ca: string; readonly username: string; readonly password: string } | null
  readonly logDir: string
  /** Stops the broker as an operator would. `start` starts it again on the same data. */
  halt(): Promise<void>
  /** Kills the broker, as a crash would. */
  kill(): Promise<void>
  start(): Promise<void>
  /** Ends the broker for good and removes its files. */
  stop(): Promise<void>
}

const run = promisify(execFile)

/** Starts a real Kafka of one node, on free ports and in a temporary folder. Resolves when Kafka accepts requests. */
export async function startKafkaServer(options: { secure?: boolean } = {}): Promise<KafkaServer> {
  const jars = await jarsOf('kafka')
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-kafka-'))
  const logDir = join(folder, 'log')
  const [port, controllerPort, securePort] = await freePorts(3)
  const certificate = options.secure ? await makeCertificate(folder) : null
  const properties = join(folder, 'server.properties')
  await writeFile(
    properties,
    settings({ logDir, port: port!, controllerPort: controllerPort!, secure: certificate && { port: securePort!, certificate } }),
  )
  const log4j = join(folder, 'log4j2.properties')
  await writeFile(log4j, logging)
  const java = [...jvm, `-Dlog4j2.configurationFile=${log4j}`, '-cp', join(jars, '*')]
  const users = certificate
    ? ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((kind) => ['--add-scram', `${kind}=[name=${user.username},password=${user.password}]`])
    : []
  await run('java', [...java, 'kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', properties, ...users])

  const brokers = [`127.0.0.1:${port}`]
  const broker = createJavaProcess(() => ['-Xms64m', '-Xmx256m', ...java, 'kafka.Kafka', properties], folder)
  const start = async () => {
    broker.start()
    await waitFor(() => !broker.isRunning() || isServing(brokers), { what: 'Kafka to serve' }).catch((error: unknown) => {
      throw new Error(`Kafka did not start: ${broker.output()}`, { cause: error })
    })
    if (!broker.isRunning()) throw new Error(`Kafka ended while it started: ${broker.output()}`)
  }
  await start()
  return {
    brokers,
    secure: certificate && { brokers: [`localhost:${securePort}`], ca: certificate.ca, ...user },
    logDir,
    halt: () => broker.end('SIGTERM'),
    kill: () => broker.end('SIGKILL'),
    start,
    async stop() {
      await broker.end('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Returns whether the broker responds as a leader that accepts writes. An open port is not enough. */
async function isServing(brokers: string[]): Promise<boolean> {
  const admin = new Kafka({
    brokers,
    logLevel: logLevel.NOTHING,
    connectionTimeout: 30_000,
    requestTimeout: 60_000,
    retry: { retries: 0 },
  }).admin()
  try {
    await admin.connect()
    return (await admin.describeCluster()).brokers.length > 0
  } finally {
    await admin.disconnect()
  }
}
