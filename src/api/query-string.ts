import { isObject } from '../lib/is-object.ts'
import type { Detail } from './errors.ts'
import type { JsonSchema } from './schemas/json-schema.ts'

/** Converts a text to the type in the schema. A text that does not have that form stays as it is, and the schema then refuses it. */
function convert(type: unknown, text: string): unknown {
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

/**
 * Returns a function that reads a query string by its schema. A list may be repeated (`ids=a&ids=b`), written as `ids[]=a`, or
 * separated by commas. Any other parameter that is repeated is a fault. Unknown parameters are kept, so that the schema refuses them.
 */
export function createQueryReader(schema: JsonSchema): (search: URLSearchParams) => { values: object; details: Detail[] } {
  const types = new Map<string, unknown>()
  if (isObject(schema.properties))
    for (const [name, property] of Object.entries(schema.properties)) if (isObject(property)) types.set(name, property.type)
  const isList = (name: string) => types.get(name) === 'array'
  return (search) => {
    const values = new Map<string, unknown>()
    const details: Detail[] = []
    for (const parameter of new Set(search.keys())) {
      const name = parameter.endsWith('[]') && isList(parameter.slice(0, -2)) ? parameter.slice(0, -2) : parameter
      const texts = search.getAll(parameter)
      if (isList(name)) {
        const earlier = values.get(name)
        values.set(name, [...(Array.isArray(earlier) ? earlier : []), ...texts.flatMap((text) => text.split(','))])
      } else {
        if (texts.length > 1) details.push({ path: name, message: 'is given more than once' })
        values.set(name, convert(types.get(name), texts[0] ?? ''))
      }
    }
    return { values: Object.fromEntries(values), details }
  }
}
