import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { Kafka, logLevel } from 'kafkajs'
import { freePorts } from '../../free-ports.ts'
import { waitFor } from '../../wait-for.ts'
import { jarsOf } from '../jars.ts'
import { makeCertificate } from './certificate.ts'
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
const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Djava.awt.headless=true']
const outputKept = 8_000

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
  // The cluster id may be any text of 22 characters.
  await run('java', [...java, 'kafka.tools.StorageTool', 'format', '-t', 'MkU3OEVBNTcwNTJENDM2Qk', '-c', properties, ...users])

  const brokers = [`127.0.0.1:${port}`]
  let child: ChildProcess | null = null
  let output = ''
  const killAtExit = () => child?.kill('SIGKILL')
  process.once('exit', killAtExit)
  const start = async () => {
    const broker = spawn('java', ['-Xms64m', '-Xmx256m', ...java, 'kafka.Kafka', properties], { stdio: ['ignore', 'pipe', 'pipe'] })
    child = broker
    for (const stream of [broker.stdout, broker.stderr])
      stream.on('data', (chunk: Buffer) => {
        output = (output + chunk).slice(-outputKept)
      })
    await waitFor(() => ended(broker) || isServing(brokers), { what: 'Kafka to serve' }).catch((error: unknown) => {
      throw new Error(`Kafka did not start: ${output}`, { cause: error })
    })
    if (ended(broker)) throw new Error(`Kafka ended while it started: ${output}`)
  }
  const end = async (signal: NodeJS.Signals) => {
    const broker = child
    child = null
    if (broker === null || ended(broker)) return
    const exit = once(broker, 'exit')
    broker.kill(signal)
    await exit
  }
  await start()
  return {
    brokers,
    secure: certificate && { brokers: [`localhost:${securePort}`], ca: certificate.ca, ...user },
    logDir,
    halt: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    start,
    async stop() {
      await end('SIGKILL')
      process.removeListener('exit', killAtExit)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

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
