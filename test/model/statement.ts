import type { DeliveryId } from '../../src/events/ids.ts'
import { textSeparator } from '../../src/lib/joined-texts.ts'
import type { Tables } from './tables.ts'

/** A statement that a process sends: its text, its values, and Postgres's clock in virtual milliseconds. */
export interface Statement {
  readonly text: string
  // The types of the values depend on the statement.
  readonly values: readonly never[]
  readonly now: number
  /** Converts a virtual time to RFC 3339. */
  iso(time: number): string
  /** Called with an offset before it is saved. */
  onSaved(partition: number, offset: bigint): void
  onEnded(delivery: DeliveryId, chain: number): void
  /** Called with each delivery of a redelivered message, when a process reads the stored row of the message. */
  onStateRead(life: string, delivery: DeliveryId): void
  /** The process that sends the statement. After a crash, the restarted process has another name. */
  readonly life: string
}
export type Rows = object[]
/** Applies a statement to the tables, and returns its rows. */
export type Effect = (tables: Tables, statement: Statement) => Rows

/**
 * Returns whether the text of a statement has a guard (a condition). The model applies a guard only if it is in the text, because a planted mistake
 * may remove it.
 */
export const hasGuard = (text: string, guard: RegExp): boolean => guard.test(text.replaceAll(/\s+/g, ' '))

/** Returns rows from columns that are one parameter each: joined texts, or the literal of an array. */
export function rowsOf<F extends string>(fields: readonly F[], values: readonly never[]): Record<F, string>[] {
  const columns = fields.map((_, i) => {
    const column = String(values[i])
    return column.startsWith('{') ? column.slice(1, -1).split(',') : column.split(textSeparator)
  })
  return columns[0]!.map((_, row) => Object.fromEntries(fields.map((field, i) => [field, columns[i]![row]])) as Record<F, string>)
}
