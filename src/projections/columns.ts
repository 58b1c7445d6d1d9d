import { type AnyFieldTable, fieldsThatAre } from '../events/fields.ts'
import { fieldAad, openValue } from '../events/sealed-fields.ts'
import type { Vault } from '../lib/seal.ts'
import { SqlPart, sqlText } from '../lib/sql.ts'

// This module derives parts of SQL statements from the declared fields of an aggregate (events/webhook.ts, events/key.ts).

/** Values by column. A value made by `sqlText` becomes text of the statement. */
export type Row = Readonly<Record<string, unknown>>

/** Returns the names of the fields that have columns. */
export const columnsOf = (table: AnyFieldTable): string[] => Object.keys(table).filter((field) => table[field]?.column !== undefined)
/** Returns the names of the columns whose past values are kept. */
export const versionedColumnsOf = (table: AnyFieldTable): string[] => fieldsThatAre(table, 'versioned')
/** Returns the definitions of columns for `create table`, each on a line, such as `id text not null,`. */
export const columnDefinitions = (table: AnyFieldTable, columns = columnsOf(table)): string =>
  columns.map((column) => `${column} ${table[column]?.column},`).join('\n    ')

/** Returns the row for an object with these fields. Values of jsonb columns become JSON. */
export const toRow = (table: AnyFieldTable, fields: object): Row =>
  Object.fromEntries(
    Object.entries(fields)
      .filter(([field]) => table[field]?.column !== undefined)
      .map(([field, value]) => [field, table[field]?.column?.startsWith('jsonb') ? JSON.stringify(value) : value]),
  )
/** Returns the row with its sealed columns opened. A sealed column holds the sealed text of the event, bound to tenant, aggregate and field. */
export function openRow<R extends { readonly id: string; readonly tenant: string }>(vault: Vault, table: AnyFieldTable, row: R): R {
  const opened = Object.entries(row).map(([column, value]) => {
    const { stored = 'clear', boundTo = column } = table[column] ?? {}
    return [column, stored === 'clear' || value === null ? value : openValue(vault, fieldAad(row.tenant, row.id, boundTo), stored, value)]
  })
  return Object.fromEntries(opened) as R
}

/** Returns the SQL `a, b` for the columns a and b. */
export const columnList = (columns: readonly string[]): SqlPart => sqlText(columns.join(', '))
/** Returns the SQL `(a, b) values ($1, $2)` for a row with the columns a and b. */
export const insertion = (row: Row): SqlPart => cells(row, (columns, values) => `(${columns.join(', ')}) values (${values.join(', ')})`)
/** Returns the SQL `a = $1, b = $2` for a row with the columns a and b. */
export const assignments = (row: Row): SqlPart =>
  cells(row, (columns, values) => columns.map((column, i) => `${column} = ${values[i]}`).join(', '))
/** Returns the SQL `a, $1, c` for the columns a, b and c and a row with only b: the value of the row replaces the column. */
export const selection = (columns: readonly string[], row: Row): SqlPart =>
  cells(Object.fromEntries(columns.map((column) => [column, column in row ? row[column] : sqlText(column)])), (_, values) =>
    values.join(', '),
  )

/** Makes SQL from the columns and values of a row. A value becomes a parameter, unless `sqlText` made it. */
function cells(row: Row, write: (columns: readonly string[], values: readonly string[]) => string): SqlPart {
  const isText = (value: unknown): value is SqlPart => value instanceof SqlPart
  return new SqlPart(
    (first) => {
      let parameter = first
      return write(
        Object.keys(row),
        Object.values(row).map((value) => (isText(value) ? value.textFrom(parameter) : `$${parameter++}`)),
      )
    },
    Object.values(row).filter((value) => !isText(value)),
  )
}
