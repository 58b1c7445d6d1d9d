import type { ComponentChildren } from 'preact'

interface FieldTableProps<N extends string> {
  /** A caption that only screen readers read. */
  readonly caption?: string
  /** The headings of the columns after the one of the fields. */
  readonly columns: readonly string[]
  readonly names: readonly N[]
  /** Returns the cells of a field, one for each column. */
  readonly cellsOf: (name: N) => readonly ComponentChildren[]
}
/** Shows the values that fields have in several states: a row for each field, and a column for each state. */
export const FieldTable = <N extends string>({ caption, columns, names, cellsOf }: FieldTableProps<N>) => (
  <div class="table">
    <table class="diff">
      {caption !== undefined && <caption class="visually-hidden">{caption}</caption>}
      <thead>
        <tr>
          {['Field', ...columns].map((column) => (
            <th key={column} scope="col">
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {names.map((name) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {cellsOf(name).map((cell, i) => (
              <td key={columns[i]} class="long">
                {cell}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
)
