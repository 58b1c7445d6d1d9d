import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'cassandra-driver'
import { freePort } from '../free-ports.ts'
import { giveUpAfterMs } from '../patience.ts'
import { configuration, javaArguments } from './cassandra/command.ts'
import { jarsOf, needsEngines } from './jars.ts'
import { makeCertificate } from './kafka/certificate.ts'

export interface Cassandra {
  readonly contactPoints: string[]
  readonly localDataCenter: string
  /** Of the server's own superuser, when it asks for passwords. */
  readonly credentials: { readonly username: string; readonly password: string } | undefined
  /** What a client has to trust, as PEM, when it speaks TLS. */
  readonly ca: string | undefined
  /** A keyspace's name that nobody else has; it is not made. */
  newKeyspace(): string
  /** Runs one statement as the superuser. */
  query(cql: string, params?: unknown[]): Promise<Record<string, unknown>[]>
  /** Ends the process without a goodbye (SIGKILL). */
  kill(): Promise<void>
  /** Starts the process again, on the same ports and data; resolves when it answers. */
  restart(): Promise<void>
  /** Ends the process and removes its data. */
  stop(): Promise<void>
}

export interface CassandraServerOptions {
  /** Default false: anybody may do anything. */
  readonly withPasswords?: boolean
  /** Default false: it speaks no TLS. */
  readonly withTls?: boolean
  /** Whether it still knows its tables after `kill` and `restart`. Default true. */
  readonly isDurable?: boolean
}

/** A real Cassandra of one node. It takes some 10 seconds to answer, and is the caller's to stop. */
export async function startCassandra(options: CassandraServerOptions = {}): Promise<Cassandra> {
  const { withPasswords = false, withTls = false, isDurable = true } = options
  const jars = await jarsOf('cassandra')
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-cassandra-'))
  const certificate = withTls ? await makeCertificate(folder) : undefined
  const cqlPort = await freePort()
  const settings = { cqlPort, storagePort: await freePort(), withPasswords, isDurable, certificate }
  await writeFile(join(folder, 'cassandra.yaml'), configuration(settings))
  const contactPoints = [`127.0.0.1:${cqlPort}`]
  const localDataCenter = 'datacenter1'
  const credentials = withPasswords ? { username: 'cassandra', password: 'cassandra' } : undefined
  const newClient = () =>
    new Client({
      contactPoints,
      localDataCenter,
      ...(credentials && { credentials }),
      ...(certificate && { sslOptions: { ca: certificate.ca } }),
      socketOptions: { readTimeout: 60_000 },
    })
  let child: ChildProcess | undefined
  let client: Client | undefined
  let made = 0

  const end = async (signal: NodeJS.Signals) => {
    await client?.shutdown()
    client = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
  const start = async () => {
    const started = spawn('java', javaArguments({ jars, folder, isDurable }), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    process.once('exit', () => started.kill('SIGKILL'))
    let said = ''
    for (const stream of [started.stdout, started.stderr])
      stream.on('data', (chunk: Buffer) => {
        said = (said + chunk).slice(-8_192)
      })
    const givenUp = performance.now() + giveUpAfterMs
    // An open port is not enough: with passwords the superuser comes later.
    for (let last: unknown; client === undefined; ) {
      if (started.exitCode !== null || started.signalCode !== null) throw new Error(`Cassandra ended by itself:\n${said}`)
      if (performance.now() > givenUp) throw new Error(`Cassandra did not answer in ${giveUpAfterMs} ms:\n${said}`, { cause: last })
      const trying = newClient()
      try {
        await trying.connect()
        client = trying
      } catch (error) {
        last = error
        await trying.shutdown()
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }
  const stop = async () => {
    await end('SIGKILL') // nothing of it is needed any more
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await start()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    contactPoints,
    localDataCenter,
    credentials,
    ca: certificate?.ca,
    newKeyspace: () => `test_${process.pid}_${++made}`,
    async query(cql, params = []) {
      if (client === undefined) throw new Error('Cassandra is not running')
      return (await client.execute(cql, params, { prepare: params.length > 0 })).rows
    },
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGTERM')
      await start()
    },
    stop,
  }
}

let shared: Promise<Cassandra> | undefined

/** The one Cassandra of this run, started when it is first asked for. It is not to be killed. */
export const sharedCassandra = (): Promise<Cassandra> => {
  shared ??= startCassandra({ isDurable: false })
  return shared
}

/** Of the run's end: see hooks.ts. */
export async function stopCassandra(): Promise<void> {
  const started = await shared?.catch(() => undefined) // its own caller was told why it did not start
  await started?.stop()
}

/** A suite that needs a real Cassandra. */
export function describeWithCassandra(title: string, define: () => void): void {
  describe(title, () => {
    before(function () {
      return needsEngines(this, ['cassandra'])
    })
    define()
  })
}
