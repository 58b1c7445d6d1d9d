import { isDeepStrictEqual } from 'node:util'
import { type AnyFieldTable, type FieldThatIs, fieldsThatAre } from '../events/fields.ts'

/** Returns the changeable fields for which a command gives another value than the state has. */
export function changedFields<Table extends AnyFieldTable, State extends Readonly<Record<FieldThatIs<Table, 'changeable'>, unknown>>>(
  table: Table,
  state: State,
  command: Partial<Pick<State, FieldThatIs<Table, 'changeable'>>>,
): Partial<Pick<State, FieldThatIs<Table, 'changeable'>>> {
  const names = fieldsThatAre(table, 'changeable')
  const changed = names.filter((field) => command[field] !== undefined && !isDeepStrictEqual(command[field], state[field]))
  return Object.fromEntries(changed.map((field) => [field, command[field]])) as typeof command
}
