import type { Detail } from './errors.ts'
import type { JsonSchema } from './schemas/json-schema.ts'

const isSchema = (value: unknown): value is JsonSchema => typeof value === 'object' && value !== null

/** Text as the type that the schema wants; what does not look like it stays text, and is then refused by the schema. */
function convert(type: unknown, text: string): unknown {
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

/**
 * Reads a query string by its schema: lists come repeated (`ids=a&ids=b`), as `ids[]=a`, or comma-separated; anything
 * else that is given twice is a fault. Unknown parameters stay, so that the schema refuses them.
 */
export function createQueryReader(schema: JsonSchema): (search: URLSearchParams) => { values: object; details: Detail[] } {
  const properties = new Map<string, JsonSchema>()
  if (isSchema(schema.properties))
    for (const [name, property] of Object.entries(schema.properties)) if (isSchema(property)) properties.set(name, property)
  const isList = (name: string) => properties.get(name)?.type === 'array'
  return (search) => {
    const values = new Map<string, unknown>()
    const details: Detail[] = []
    for (const given of new Set(search.keys())) {
      const name = given.endsWith('[]') && isList(given.slice(0, -2)) ? given.slice(0, -2) : given
      const texts = search.getAll(given)
      if (isList(name)) {
        const before = values.get(name)
        values.set(name, [...(Array.isArray(before) ? before : []), ...texts.flatMap((text) => text.split(','))])
      } else {
        if (texts.length > 1) details.push({ path: name, message: 'is given more than once' })
        values.set(name, convert(properties.get(name)?.type, texts[0] ?? ''))
      }
    }
    return { values: Object.fromEntries(values), details }
  }
}
