import type { Pool, QueryConfig, QueryResultRow } from 'pg'

/** Runs one statement and answers its rows. One that is not answered in time fails, and its connection is given up. */
export type Ask = <R extends QueryResultRow>(query: QueryConfig) => Promise<R[]>

export const askWithin =
  (pool: Pool, timeoutMs: number): Ask =>
  async <R extends QueryResultRow>(query: QueryConfig) => {
    const timed = { ...query, query_timeout: timeoutMs }
    return (await pool.query<R>(timed)).rows
  }
