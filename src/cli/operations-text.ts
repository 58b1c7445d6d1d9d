import { isObject } from '../lib/is-object.ts'
import { details, type Row, table, textOf } from './text.ts'

/** Returns a size as people read it: `46.0 MiB`. */
export function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let size = bytes
  let unit = 0
  for (; size >= 1_024 && unit < units.length - 1; unit++) size /= 1_024
  return unit === 0 ? `${bytes} bytes` : `${size.toFixed(1)} ${units[unit]}`
}

const isList = (value: unknown): value is readonly Row[] => Array.isArray(value) && value.every(isObject)
/** Returns an object with its sizes as texts. Its lists of objects are left out. */
const withoutLists = (row: Row): Row =>
  Object.fromEntries(
    Object.entries(row)
      .filter(([, value]) => !isList(value))
      .map(([name, value]) => {
        if (isObject(value)) return [name, withoutLists(value)]
        return [name, name.endsWith('bytes') && typeof value === 'number' ? sizeText(value) : value]
      }),
  )
/** Yields the lists of objects in an object, with their names. */
function* listsOf(row: Row, prefix = ''): Generator<readonly [string, readonly Row[]]> {
  for (const [name, value] of Object.entries(row))
    if (isList(value)) yield [prefix + name, value]
    else if (isObject(value)) yield* listsOf(value, `${prefix}${name}.`)
}

/** Shows the state of the service: the single values first, then a table for each list that is not empty. */
export function operationsText(report: Row): string {
  const values = details({ ...withoutLists(report), ...(report.last_backup === null ? { last_backup: 'none' } : {}) })
  const tables = [...listsOf(report)].flatMap(([name, rows]) => {
    const shown = rows.map(withoutLists)
    const head = [...new Set(shown.flatMap(Object.keys))]
    return rows.length === 0
      ? []
      : [
          `\n${name}\n${table(
            shown.map((row) => head.map((column) => textOf(row[column]))),
            head,
          )}`,
        ]
  })
  return [values, ...tables].join('\n')
}
