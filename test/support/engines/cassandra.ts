import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'cassandra-driver'
import { freePort } from '../free-ports.ts'
import { giveUpAfterMs } from '../patience.ts'
import { configuration, javaArguments } from './cassandra/command.ts'
import { jarsOf, needsEngines } from './jars.ts'
import { createJavaProcess } from './java-process.ts'
import { makeCertificate } from './kafka/certificate.ts'

export interface Cassandra {
  readonly contactPoints: string[]
  readonly localDataCenter: string
  /** The login of the server's superuser, if the server requires passwords. */
  readonly credentials: { readonly username: string; readonly password: string } | undefined
  /** The certificate (PEM) that a client has to trust, if the server uses TLS. */
  readonly ca: string | undefined
  /** Returns a keyspace's name that no other test has. Does not create the keyspace. */
  newKeyspace(): string
  /** Runs one statement as the superuser. */
  query(cql: string, params?: unknown[]): Promise<Record<string, unknown>[]>
  /** Kills the process (SIGKILL). */
  kill(): Promise<void>
  /** Starts the process again on the same ports and data. Resolves when the server responds. */
  restart(): Promise<void>
  /** Ends the process and removes its data. */
  stop(): Promise<void>
}

export interface CassandraServerOptions {
  /** Whether the server requires passwords. Default false. */
  readonly withPasswords?: boolean
  /** Whether the server uses TLS. Default false. */
  readonly withTls?: boolean
  /** Whether the server still has its tables after `kill` and `restart`. Default true. */
  readonly isDurable?: boolean
}

/** Starts a real Cassandra of one node, which takes about 10 s. The caller stops it. */
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
  const server = createJavaProcess(() => javaArguments({ jars, folder, isDurable }), folder)
  let client: Client | undefined
  let keyspaceCount = 0

  const end = async (signal: NodeJS.Signals) => {
    await client?.shutdown()
    client = undefined
    await server.end(signal)
  }
  const start = async () => {
    server.start()
    const givenUp = performance.now() + giveUpAfterMs
    // An open port is not enough, because with passwords the superuser is created later.
    for (let last: unknown; client === undefined; ) {
      if (!server.isRunning()) throw new Error(`Cassandra ended by itself:\n${server.output()}`)
      if (performance.now() > givenUp)
        throw new Error(`Cassandra did not respond in ${giveUpAfterMs} ms:\n${server.output()}`, { cause: last })
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
    await end('SIGKILL') // the data of the server are not needed any more
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
    newKeyspace: () => `test_${process.pid}_${++keyspaceCount}`,
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

/** Returns the Cassandra that all tests of a run share. The first call starts it. No test may kill it. */
export const sharedCassandra = (): Promise<Cassandra> => {
  shared ??= startCassandra({ isDurable: false })
  return shared
}

/** Stops the shared Cassandra. hooks.ts calls it at the end of the run. */
export async function stopCassandra(): Promise<void> {
  const started = await shared?.catch(() => undefined) // the test that started it has the error
  await started?.stop()
}

/** Defines a suite that needs a real Cassandra. */
export function describeWithCassandra(title: string, define: () => void): void {
  describe(title, () => {
    before(function () {
      return needsEngines(this, ['cassandra'])
    })
    define()
  })
}
