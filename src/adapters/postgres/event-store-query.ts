import pg, { type Pool, type QueryConfig, type QueryResultRow } from 'pg'

/** Runs one statement and returns its rows. If no result arrives in time, the statement fails and its connection is closed. */
export type Ask = <R extends QueryResultRow>(query: QueryConfig) => Promise<R[]>

/**
 * Creates an `Ask`. Unlike `pool.query`, it keeps a connection on which Postgres has refused a statement. A group with a faulty item is refused many
 * times, and each refusal would otherwise cost a new connection.
 */
export const createAsk =
  (pool: Pool, timeoutMs: number): Ask =>
  async <R extends QueryResultRow>(query: QueryConfig) => {
    const client = await pool.connect()
    let failure: Error | undefined
    const onError = (error: Error) => {
      failure = error
    }
    client.on('error', onError)
    try {
      const timed = { ...query, query_timeout: timeoutMs }
      return (await client.query<R>(timed)).rows
    } catch (error) {
      if (!(error instanceof pg.DatabaseError && error.severity === 'ERROR'))
        failure ??= error instanceof Error ? error : new Error(String(error))
      throw error
    } finally {
      client.off('error', onError)
      client.release(failure)
    }
  }
