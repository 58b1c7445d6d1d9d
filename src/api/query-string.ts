import { isObject } from '../lib/is-object.ts'
import type { Detail } from './errors.ts'
import type { JsonSchema } from './schemas/json-schema.ts'

/**
 * Converts a text to the type in the schema. A text of another form stays as it is, and the schema then refuses it. In a query string, the `+` of an
 * offset (`+02:00`) means a space unless it is written `%2B`. So a space in a time is read as a plus.
 */
function convert({ type, format }: JsonSchema, text: string): unknown {
  if (format === 'date-time') return text.replace(/ (?=\d\d:\d\d$)/, '+')
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

/**
 * Returns a function that reads a query string by its schema. A list may be repeated (`ids=a&ids=b`), written as `ids[]=a`, or
 * separated by commas. Any other parameter that is repeated is a fault. Unknown parameters are kept, so that the schema refuses them.
 */
export function createQueryReader(schema: JsonSchema): (search: URLSearchParams) => { values: object; details: Detail[] } {
  const properties = new Map<string, JsonSchema>()
  if (isObject(schema.properties))
    for (const [name, property] of Object.entries(schema.properties)) if (isObject(property)) properties.set(name, property)
  const isList = (name: string) => properties.get(name)?.type === 'array'
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
        values.set(name, convert(properties.get(name) ?? {}, texts[0] ?? ''))
      }
    }
    return { values: Object.fromEntries(values), details }
  }
}
