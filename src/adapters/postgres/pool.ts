import pg from 'pg'
import type { Log } from '../../lib/log.ts'

// A bigint column holds a position or a count. As texts, such values could be compared wrongly (`'10' < '9'`).
pg.types.setTypeParser(pg.types.builtins.INT8, BigInt)
// Times are read as RFC 3339 UTC text with milliseconds, because all events and views hold them in this form.
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, timeOf)

/**
 * Parses a time as Postgres writes it in a UTC session, `0013-01-01 00:00:00[.123456]+00`. `Date` would read such a text as a time in
 * another century, or not at all.
 */
function timeOf(text: string): string {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(text)
  if (match === null) return new Date(text).toISOString()
  return `${match[1]}T${match[2]}.${(match[3] ?? '').slice(0, 3).padEnd(3, '0')}Z`
}

interface PoolOptions {
  readonly url: string
  /** Shown in pg_stat_activity as `kolbak <name>`. */
  readonly name: string
  readonly max: number
  readonly log: Log
  /** Milliseconds after which a statement is cancelled. Default 30,000. */
  readonly statementTimeoutMs?: number
  /**
   * Whether each named statement is planned once for all values, always with index look-ups. This suits statements that touch many
   * partitions and need no other plan, because planning them takes longer than running them. Default false.
   */
  readonly plansOnce?: boolean
}

/** Makes a pool whose connections commit durably and whose transactions end when their client is lost. */
export function createPool({ url, name, max, log, statementTimeoutMs = 30_000, plansOnce = false }: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    application_name: `kolbak ${name}`,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    options: [
      'synchronous_commit=on',
      'idle_in_transaction_session_timeout=30000',
      `statement_timeout=${statementTimeoutMs}`,
      'tcp_keepalives_idle=10',
      'tcp_keepalives_interval=5',
      'tcp_keepalives_count=3',
      'timezone=UTC',
      'jit=off',
      ...(plansOnce ? ['plan_cache_mode=force_generic_plan', 'enable_seqscan=off', 'enable_bitmapscan=off'] : []),
    ]
      .map((setting) => `-c ${setting}`)
      .join(' '),
  })
  // The pool replaces a connection that breaks, for example at a restart of Postgres. An error event without a listener would end the process.
  // The pool listens while the connection is idle, and the listener below while a transaction uses the connection.
  const onError = (error: Error) => log.warn({ error, pool: name }, 'postgres.connection_lost')
  pool.on('error', onError)
  pool.on('connect', (client) => {
    client.on('error', (error) => log.debug({ error, pool: name }, 'postgres.connection_broke'))
  })
  return pool
}
