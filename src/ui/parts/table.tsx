import type { ComponentChildren } from 'preact'

/** The heading of a column, with the least width of the screen at which the column is shown. */
type Column = string | readonly [heading: string, shownOn: 'broad' | 'wide']

/** A table with a caption for screen readers. Its children are its rows. @param columns a column that is false is left out */
export const Table = ({
  caption,
  columns,
  children,
}: {
  caption: string
  columns: readonly (Column | false)[]
  children: ComponentChildren
}) => (
  <div class="table">
    <table>
      <caption class="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          {columns
            .filter((column) => column !== false)
            .map((column) => (typeof column === 'string' ? ([column, undefined] as const) : column))
            .map(([heading, shownOn]) => (
              <th key={heading} scope="col" class={shownOn}>
                {heading}
              </th>
            ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  </div>
)
