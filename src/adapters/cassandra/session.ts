import type { ConnectionOptions } from 'node:tls'
import { auth, Client, policies, types } from 'cassandra-driver'
import { createLimiter } from '../../lib/bounded.ts'
import type { Log } from '../../lib/log.ts'
import { portOf } from './contact-points.ts'
import { asUnavailable, DeliveryLogUnavailable, refusalOf } from './errors.ts'

export type Consistency = 'one' | 'local_one' | 'quorum' | 'local_quorum' | 'each_quorum' | 'all'
export interface SessionOptions {
  /** Nodes to connect to first, as `host` or `host:port`. One node that responds is enough. */
  readonly contactPoints: readonly string[]
  readonly localDataCenter: string
  readonly credentials?: { readonly username: string; readonly password: string }
  /** The options of TLS. The server's certificate is checked, unless these options turn the check off. */
  readonly ssl?: ConnectionOptions
  readonly log: Log
  /**
   * The replicas that must respond to each read and write. Default `local_quorum`, with which a read sees every earlier write.
   */
  readonly consistency?: Consistency
  /** Milliseconds after which a request fails. Default 5,000. */
  readonly readTimeoutMs?: number
  /** The most reads in flight at once, and the most writes. Further calls wait. Default 256 each. */
  readonly maxInFlight?: number
}
export type Row = Readonly<Record<string, unknown>>
export interface Statement {
  readonly cql: string
  readonly params: readonly unknown[]
}
/** A connected client. Every statement is idempotent, so that the driver may repeat it. A failure throws DeliveryLogUnavailable. */
export interface Session {
  /** Reads one page of at most `rows` rows. */
  read(statement: Statement, rows: number, from?: string): Promise<{ rows: Row[]; next: string | null }>
  /** Writes the rows of one partition, all or none. */
  write(statements: readonly Statement[]): Promise<void>
  /** Runs a lightweight transaction. Returns whether it was applied, and the existing row if not. */
  compareAndSet(statement: Statement): Promise<{ applied: boolean; row: Row | undefined }>
  /** Changes the schema, and waits until all nodes have the change. */
  change(cql: string): Promise<void>
  close(): Promise<void>
}

const consistencies = {
  one: types.consistencies.one,
  local_one: types.consistencies.localOne,
  quorum: types.consistencies.quorum,
  local_quorum: types.consistencies.localQuorum,
  each_quorum: types.consistencies.eachQuorum,
  all: types.consistencies.all,
} as const

/**
 * Milliseconds after which a statement without a response is also sent to another node. A frozen node then delays a statement by a second, and not by
 * the whole time-out. The driver does this only for idempotent statements.
 */
const speculateAfterMs = 1_000

/**
 * Retries once on the same coordinator when replicas were late, which is safe because all statements are idempotent. The retry keeps the consistency
 * of the statement. The consistency that a time-out of a lightweight transaction reports is SERIAL, with which Cassandra refuses the statement.
 */
class RetryOnce extends policies.retry.RetryPolicy {
  override onReadTimeout({ nbRetry }: policies.retry.OperationInfo) {
    return nbRetry > 0 ? this.rethrowResult() : this.retryAsBefore()
  }
  override onWriteTimeout({ nbRetry }: policies.retry.OperationInfo) {
    return nbRetry > 0 ? this.rethrowResult() : this.retryAsBefore()
  }
  private retryAsBefore() {
    // The types of the driver demand a consistency, but the driver itself keeps that of the statement if there is none.
    return this.retryResult(undefined as unknown as types.consistencies)
  }
}

/**
 * Connects to Cassandra. Throws KolbakError `invalid_config` when Cassandra refuses the configuration, and DeliveryLogUnavailable when no node
 * responds.
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { contactPoints, localDataCenter, credentials, ssl, log, readTimeoutMs = 5_000, maxInFlight = 256 } = options
  const client = new Client({
    contactPoints: [...contactPoints],
    localDataCenter,
    ...(credentials && { authProvider: new auth.PlainTextAuthProvider(credentials.username, credentials.password) }),
    // The driver's own default accepts any certificate.
    ...(ssl && { sslOptions: { rejectUnauthorized: true, ...ssl } }),
    policies: {
      retry: new RetryOnce(),
      reconnection: new policies.reconnection.ExponentialReconnectionPolicy(100, 5_000, false),
      speculativeExecution: new policies.speculativeExecution.ConstantSpeculativeExecutionPolicy(speculateAfterMs, 1),
    },
    socketOptions: { connectTimeout: 5_000, readTimeout: readTimeoutMs, tcpNoDelay: true, keepAlive: true },
    protocolOptions: { port: portOf(contactPoints), maxSchemaAgreementWaitSeconds: 30 },
    queryOptions: { consistency: consistencies[options.consistency ?? 'local_quorum'], prepare: true, isIdempotent: true },
    monitorReporting: { enabled: false },
  })
  // Only the messages of the driver are logged, because its details may contain parameters of queries.
  client.on('log', (level: string, source: string, message: string) => {
    const fields = { source, text: message }
    if (level === 'warning' || level === 'error') log.warn(fields, 'cassandra.driver')
    else if (level === 'info') log.debug(fields, 'cassandra.driver')
  })
  try {
    await client.connect()
  } catch (error) {
    await client.shutdown()
    throw refusalOf(error) ?? asUnavailable(error)
  }
  // Reads and writes have separate limits, so that a page of history does not wait for thousands of writes.
  const reading = createLimiter(maxInFlight)
  const writing = createLimiter(maxInFlight)
  const thrown = (error: unknown): never => {
    throw asUnavailable(error)
  }
  return {
    async read({ cql, params }, rows, from) {
      const paging = { fetchSize: rows, ...(from === undefined ? {} : { pageState: from }) }
      const result = await reading(() => client.execute(cql, [...params], paging)).catch(thrown)
      return { rows: result.rows, next: result.pageState ?? null }
    },
    async write(statements) {
      const [first] = statements
      if (first === undefined) return
      await writing<unknown>(() =>
        statements.length === 1
          ? client.execute(first.cql, [...first.params])
          : client.batch(
              statements.map(({ cql, params }) => ({ query: cql, params: [...params] })),
              { logged: false },
            ),
      ).catch(thrown)
    },
    async compareAndSet({ cql, params }) {
      const result = await client.execute(cql, [...params]).catch(thrown)
      return { applied: result.wasApplied(), row: result.first() ?? undefined }
    },
    async change(cql) {
      const { info } = await client.execute(cql, [], { prepare: false, readTimeout: 60_000 }).catch((error: unknown) => {
        throw refusalOf(error) ?? asUnavailable(error)
      })
      // The driver's types lack this property.
      if (!(info as { isSchemaInAgreement?: boolean }).isSchemaInAgreement)
        throw new DeliveryLogUnavailable(new Error('the nodes do not agree on the schema yet'))
    },
    close: () => client.shutdown(),
  }
}
