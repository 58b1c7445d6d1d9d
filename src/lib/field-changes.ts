import { isObject } from './is-object.ts'
import { isSealedText } from './seal.ts'

/** A field whose value differs from what Kolbak wrote. */
export interface FieldChange {
  /** For example `metadata.time`, `data.description`, or the name of a column. */
  readonly field: string
  /** The value that Kolbak wrote, for a reader. It is null if the field was absent. */
  readonly was: unknown
  readonly is: unknown
}

/** Returns the value for a reader: sealed texts are not shown, because they say nothing. */
export function withoutSealed(value: unknown): unknown {
  if (typeof value === 'string') return isSealedText(value) ? 'sealed' : value
  if (Array.isArray(value)) return value.map(withoutSealed)
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withoutSealed(inner)])) : value
}

/** Fields whose values are not shown, although they are not sealed. */
const hiddenFields = /secret|hash/

/** Returns the members in which two objects differ. */
export function changesBetween(before: object, after: object): FieldChange[] {
  const [was, is] = [new Map<string, unknown>(Object.entries(before)), new Map<string, unknown>(Object.entries(after))]
  const shown = (field: string, value: unknown = null) => (hiddenFields.test(field) && value !== null ? 'hidden' : withoutSealed(value))
  return [...new Set([...was.keys(), ...is.keys()])]
    .filter((field) => JSON.stringify(was.get(field)) !== JSON.stringify(is.get(field)))
    .map((field) => ({ field, was: shown(field, was.get(field)), is: shown(field, is.get(field)) }))
}
