import { memberRange } from '../api/json-byte-ranges.ts'

/** JSON that is sent exactly as it was typed. */
export class JsonText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

// Node has both functions, but TypeScript's library does not describe them yet.
const { rawJSON, parse } = JSON as unknown as {
  rawJSON(text: string): unknown
  parse(text: string, reviver: (name: string, value: unknown, context: { source?: string }) => unknown): unknown
}
/** Parses JSON. A number such as `12.50`, which JavaScript would write in another way, stays as it was written. */
export const parseExactly = (text: string): unknown =>
  parse(text, (_, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? rawJSON(source) : value,
  )

export const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Returns the text of an object in JSON. Members without a value are left out. */
export const stringify = (members: Readonly<Record<string, unknown>>): string =>
  `{${Object.entries(members)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}:${value instanceof JsonText ? value.text : JSON.stringify(value)}`)
    .join(',')}}`

/** Returns the text of a member of an object, exactly as it was written, or undefined. */
export function memberText(json: string, name: string): string | undefined {
  const bytes = Buffer.from(json)
  const range = memberRange(bytes, name)
  return range === null ? undefined : bytes.toString('utf8', range.start, range.end)
}
