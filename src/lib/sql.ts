import type { ClientBase, Pool, QueryResultRow } from 'pg'

/**
 * Runs tagged SQL and returns the rows: `await sql\`select ... where id = ${id}\``. Values become parameters and never part of the text, except for
 * the text of a SqlPart.
 */
export type Sql = <R extends QueryResultRow = QueryResultRow>(text: TemplateStringsArray, ...values: readonly unknown[]) => Promise<R[]>

export const sqlOn =
  (client: ClientBase | Pool): Sql =>
  async (text, ...values) => {
    const parameters: unknown[] = []
    const statement = text.reduce((before, after, i) => {
      const value = values[i - 1]
      if (value instanceof SqlPart) return `${before}${value.textFrom(parameters.push(...value.values) - value.values.length + 1)}${after}`
      return `${before}$${parameters.push(value)}${after}`
    })
    const { rows } = await client.query({ text: statement, values: parameters })
    return rows
  }

/** A part of tagged SQL with its own parameters. `textFrom` returns its text, with the parameters numbered from `first` on. */
export class SqlPart {
  readonly textFrom: (first: number) => string
  readonly values: readonly unknown[]
  constructor(textFrom: (first: number) => string, values: readonly unknown[]) {
    this.textFrom = textFrom
    this.values = values
  }
}
/** Puts a constant text into tagged SQL, such as a list of columns. The text must never come from input. */
export const sqlText = (text: string): SqlPart => new SqlPart(() => text, [])

/** Runs queries that all see the same state of the database. */
export const inSnapshot = <T>(pool: Pool, work: (sql: Sql) => Promise<T>): Promise<T> =>
  transaction(pool, async (client) => {
    await client.query('set transaction isolation level repeatable read, read only')
    return work(sqlOn(client))
  })

/** Runs `work` in one transaction, on a separate connection. */
export async function transaction<T>(pool: Pool, work: (client: ClientBase) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  // When Postgres ends the connection between two statements, pg emits `error`. Without a listener, that would end the process.
  const onLost = (error: Error) => {
    broken = error
  }
  client.on('error', onLost)
  try {
    await client.query('begin')
    const result = await work(client)
    // If a statement of the transaction failed and `work` caught the error, Postgres responds to the commit with ROLLBACK and no error.
    const { command } = await client.query('commit')
    if (command !== 'COMMIT') throw new Error('a statement of the transaction had failed, so it was rolled back at its commit')
    return result
  } catch (error) {
    await client.query('rollback').catch((cause: Error) => {
      broken = cause // an error makes the pool drop the connection
    })
    throw error
  } finally {
    client.off('error', onLost)
    client.release(broken)
  }
}
