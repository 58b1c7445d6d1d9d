import pg from 'pg'
import type { Log } from '../../lib/log.ts'
import { prepareSession, type SessionOptions } from './session.ts'

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

interface PoolOptions extends Omit<SessionOptions, 'statementTimeoutMs'> {
  readonly url: string
  readonly max: number
  readonly log: Log
  /** Milliseconds after which a statement is cancelled. Default 30,000. */
  readonly statementTimeoutMs?: number
}

/** Makes a pool whose connections commit durably and whose transactions end when their client is lost. */
export function createPool({ url, max, log, statementTimeoutMs = 30_000, ...session }: PoolOptions): pg.Pool {
  const { name } = session
  const pool = new pg.Pool({
    connectionString: url,
    max,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: (client) => prepareSession(client, { ...session, statementTimeoutMs }),
  })
  // The pool replaces a connection that breaks, for example at a restart of Postgres. Without a listener, the error event would end the process. This
  // listener is for idle connections, and the one below for connections that a transaction uses.
  const onError = (error: Error) => log.warn({ error, pool: name }, 'postgres.connection_lost')
  pool.on('error', onError)
  pool.on('connect', (client) => {
    client.on('error', (error) => log.debug({ error, pool: name }, 'postgres.connection_broke'))
  })
  return pool
}
