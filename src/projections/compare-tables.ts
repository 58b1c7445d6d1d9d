import type { ClientBase } from 'pg'
import { codeOf } from '../lib/errors.ts'
import { changesBetween, type FieldChange } from '../lib/field-changes.ts'
import { schemaOf } from './builds.ts'
import type { Projection } from './projection.ts'

/** A row in which a new build differs from the live build. */
export interface Difference {
  readonly table: string
  /** The value of the first column of the row, which identifies it. */
  readonly key: string
  /** The columns that differ, with the value that follows from the events (`was`) and that of the live build (`is`). Empty if only one has the row. */
  readonly changes: readonly FieldChange[]
}

/** The most rows of a table that are reported. */
const maxReported = 100

/**
 * Compares the tables that readers see in two builds at the same checkpoint. A comparison that takes too long is given up, so that it does not delay
 * the switch to the new build.
 * @param options.mustEnd whether to fail instead if a comparison takes longer than `maxSeconds`
 */
export async function compareTables(
  client: ClientBase,
  projection: Projection,
  live: number,
  build: number,
  report: (difference: Difference) => void,
  { maxSeconds = 30, mustEnd = false }: { maxSeconds?: number; mustEnd?: boolean } = {},
): Promise<void> {
  if (projection.tables === undefined) return
  const [before, after] = [schemaOf(projection, live), schemaOf(projection, build)]
  for (const table of projection.views ?? []) {
    await client.query('savepoint comparing')
    try {
      await client.query(`set local statement_timeout = '${maxSeconds}s'`)
      const differing = (one: string, other: string) =>
        `select row_to_json(d) as row from (select * from ${one}.${table} except all select * from ${other}.${table} limit ${maxReported}) d`
      const { rows: gone } = await client.query<{ row: Record<string, unknown> }>(differing(before, after))
      const { rows: added } = await client.query<{ row: Record<string, unknown> }>(differing(after, before))
      for (const difference of differences(
        table,
        gone.map(({ row }) => row),
        added.map(({ row }) => row),
      ))
        report(difference)
    } catch (error) {
      if (mustEnd || codeOf(error) !== '57014') throw error // 57014: the statement took too long
      await client.query('rollback to savepoint comparing')
    }
    await client.query('release savepoint comparing')
  }
}

function differences(table: string, gone: readonly Record<string, unknown>[], added: readonly Record<string, unknown>[]): Difference[] {
  const keyOf = (row: Record<string, unknown>) => String(Object.values(row)[0])
  const rebuilt = new Map(added.map((row) => [keyOf(row), row]))
  const differenceByKey = new Map<string, Difference>()
  for (const row of gone) {
    const other = rebuilt.get(keyOf(row))
    const changes = other === undefined ? [] : changesBetween(other, row)
    differenceByKey.set(keyOf(row), { table, key: keyOf(row), changes })
  }
  for (const key of rebuilt.keys()) if (!differenceByKey.has(key)) differenceByKey.set(key, { table, key, changes: [] })
  return [...differenceByKey.values()]
}
