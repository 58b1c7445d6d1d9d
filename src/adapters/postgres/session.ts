import pg from 'pg'

/** The options in which the sessions of Kolbak differ. */
export interface SessionOptions {
  /** Shown in pg_stat_activity as `kolbak <name>`. */
  readonly name: string
  /** Milliseconds after which a statement is cancelled, or 0 for no limit. */
  readonly statementTimeoutMs: number
  /** Milliseconds after which a transaction that runs no statement is ended, or 0 for no limit. Default 30,000. */
  readonly idleInTransactionMs?: number
  /**
   * Whether each named statement is planned once for all values, always with index look-ups. This suits statements that touch many
   * partitions and need no other plan, because planning them takes longer than running them. Default false.
   */
  readonly plansOnce?: boolean
}

/** The settings on which Kolbak relies. Postgres keeps all others as its operator has set them. */
const settingsOf = ({ name, statementTimeoutMs, idleInTransactionMs = 30_000, plansOnce = false }: SessionOptions) => ({
  // An acknowledged commit must be on disk, because Kolbak then responds with 202.
  synchronous_commit: 'on',
  // A transaction must end when its client is lost. A statement or idle connection that Kolbak still needs must not be ended.
  idle_in_transaction_session_timeout: String(idleInTransactionMs),
  statement_timeout: String(statementTimeoutMs),
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
  lock_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
  // Appends need this isolation level, and the tables and views are in the schema `public`.
  default_transaction_isolation: 'read committed',
  search_path: 'public',
  // Values are written and read in these formats.
  client_encoding: 'UTF8',
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  // Compiling takes longer than any statement of Kolbak.
  jit: 'off',
  application_name: `kolbak ${name}`,
  ...(plansOnce ? { plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off', enable_bitmapscan: 'off' } : {}),
})

/**
 * Gives a new connection the settings of Kolbak. They are set after the connection is made, so that they override parameters of the URL
 * (`?options=`), PGOPTIONS, and the settings of the role and the database. They also work through a pooler that drops the options of a connection. A
 * setting that this version of Postgres does not have is left out (`transaction_timeout` is new in 17).
 */
export async function prepareSession(client: pg.ClientBase, options: SessionOptions): Promise<void> {
  const settings = settingsOf(options)
  await client.query({
    text: `select set_config(setting.name, setting.value, false) from unnest($1::text[], $2::text[]) as setting (name, value)
           where setting.name in (select lower(name) from pg_settings)`,
    values: [Object.keys(settings), Object.values(settings)],
    query_timeout: 10_000,
  } as pg.QueryConfig)
}

/** Opens one connection, which the caller must end. @param onLost called with the error when the connection breaks */
export async function connect(
  url: string,
  { connectTimeoutMs = 10_000, ...options }: SessionOptions & { readonly connectTimeoutMs?: number },
  onLost: (error: Error) => void = () => {},
): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs, keepAlive: true })
  // A lost connection also fails the running statement. Without a listener the event would end the process.
  client.on('error', onLost)
  try {
    await client.connect()
    await prepareSession(client, options)
    return client
  } catch (error) {
    await client.end().catch(onLost)
    throw error
  }
}

/**
 * Returns the URL of a database of the embedded Postgres. The parameters of the URL override the variables of libpq (PGSSLMODE, PGOPTIONS,
 * PGCLIENT_ENCODING, PGREPLICATION), because those are meant for other databases.
 */
export const embeddedUrl = (password: string, port: number, database: string): string =>
  `postgres://kolbak:${password}@127.0.0.1:${port}/${database}?sslmode=disable&options=-cjit%3Doff&client_encoding=UTF8&replication=false`
