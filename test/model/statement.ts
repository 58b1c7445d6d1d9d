import type { DeliveryId } from '../../src/events/ids.ts'
import { separator } from '../../src/lib/sql.ts'
import type { Tables } from './tables.ts'

/** One run of a statement: its text, its values, and Postgres's clock in virtual milliseconds. */
export interface Statement {
  readonly text: string
  // What each statement takes is known here as it is known to Postgres: by its text.
  readonly values: readonly never[]
  readonly now: number
  /** RFC 3339 of a virtual time. */
  iso(time: number): string
  /** Told of an offset before it is saved, and of chains whose ends the retry manager has read. */
  onSaved(partition: number, offset: bigint): void
  onEnded(delivery: DeliveryId, chain: number): void
  /** Told of the deliveries of a message that has come again, when their process looks at what is there. */
  onLooked(life: string, delivery: DeliveryId): void
  /** Which process asks. */
  readonly life: string
}
export type Rows = object[]
/** What a statement does to the tables, and the rows that it answers. */
export type Run = (tables: Tables, statement: Statement) => Rows

/** Whether the text of a statement has a guard. A statement that loses one (by a mutation) loses it in the model too. */
export const hasGuard = (text: string, guard: RegExp): boolean => guard.test(text.replaceAll(/\s+/g, ' '))

/** The rows of columns that travel as one parameter each: as joined texts, or as an array's literal. */
export function rowsOf<F extends string>(fields: readonly F[], values: readonly never[]): Record<F, string>[] {
  const columns = fields.map((_, i) => {
    const column = String(values[i])
    return column.startsWith('{') ? column.slice(1, -1).split(',') : column.split(separator)
  })
  return columns[0]!.map((_, row) => Object.fromEntries(fields.map((field, i) => [field, columns[i]![row]])) as Record<F, string>)
}
