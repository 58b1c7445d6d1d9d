import { isObject } from '../lib/is-object.ts'

export type Row = Readonly<Record<string, unknown>>
export const rowsOf = (data: unknown): readonly Row[] => (Array.isArray(data) ? data.filter(isObject) : [])
export const rowOf = (data: unknown): Row => (isObject(data) ? data : {})

/** Returns a value as people read it. */
export function textOf(value: unknown): string {
  if (value === null || value === undefined) return '-'
  if (typeof value === 'string') return value
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) return value.join(', ')
  return JSON.stringify(value)
}

/** Formats rows as a table whose columns are as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[], head: readonly string[]): string {
  if (rows.length === 0) return '(none)'
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
/** Formats an object as lines, one for each member. A member that is an object gets a line for each of its own members instead. */
export function details(row: Row): string {
  const lines = (object: Row, prefix: string): [string, string][] =>
    Object.entries(object).flatMap(([name, value]): [string, string][] =>
      isObject(value) && !('rawJSON' in value) ? lines(value, `${prefix}${name}.`) : [[prefix + name, textOf(value)]],
    )
  const members = lines(row, '')
  const width = Math.max(0, ...members.map(([name]) => name.length))
  return members.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n')
}
/** Returns `1 event` or `2 events`. */
export const countOf = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
