import { isObject } from '../../lib/is-object.ts'

declare const accepted: unique symbol
/** The property that contains the name of a schema in `/openapi.json`. */
export const schemaName = Symbol('schemaName')

/** A JSON Schema (2020-12) that accepts values of type T. It validates requests and is part of `/openapi.json`. */
export interface JsonSchema<T = unknown> {
  readonly [keyword: string]: unknown
  readonly [schemaName]?: string
  readonly [accepted]?: T
}

/** Gives a schema a name, by which `/openapi.json` refers to it. */
export const named = <T>(name: string, schema: JsonSchema<T>): JsonSchema<T> => ({ ...schema, [schemaName]: name })
export const isNamed = (schema: object): schema is { readonly [schemaName]: string } => schemaName in schema

/** Returns the schema of an object with exactly these members. All members are required, except the optional ones. */
export function object<T>(properties: Readonly<Record<string, JsonSchema>>, optional: readonly string[] = []): JsonSchema<T> {
  return {
    type: 'object',
    properties,
    required: Object.keys(properties).filter((name) => !optional.includes(name)),
    additionalProperties: false,
  }
}
/** Returns a schema that also accepts null. */
export const nullable = (schema: JsonSchema): JsonSchema => ({
  ...schema,
  type: [schema.type, 'null'],
  ...(Array.isArray(schema.enum) ? { enum: [...schema.enum, null] } : {}),
})
/** Returns the schema of one of these words. It has a type too, because generators of clients do not infer the type from the words. */
export const oneOf = (words: readonly string[]): JsonSchema => ({ type: 'string', enum: words })
/** Returns the schema of this one word. */
export const word = (text: string): JsonSchema => ({ type: 'string', const: text })

/**
 * Returns an example of a schema: its first example, or one that is made of the examples of its parts. Throws when a part has no example.
 * @param members values of an object that differ from the examples of their schemas
 */
export function exampleOf({ examples, default: byDefault, const: only, ...schema }: JsonSchema, members: object = {}): unknown {
  if (Array.isArray(examples)) return examples[0]
  if (byDefault !== undefined) return byDefault
  if (only !== undefined) return only
  if (Array.isArray(schema.enum)) return schema.enum[0]
  if (schema.type === 'boolean') return true
  if (isObject(schema.properties)) {
    const parts = Object.entries(schema.properties).map(([name, part]) => [
      name,
      name in members ? null : exampleOf(isObject(part) ? part : {}),
    ])
    return { ...Object.fromEntries(parts), ...members }
  }
  if (Array.isArray(schema.anyOf) && isObject(schema.anyOf[0])) return exampleOf(schema.anyOf[0], members)
  if (isObject(schema.items)) return [exampleOf(schema.items)]
  throw new Error(`a schema has no example: ${JSON.stringify(schema)}`)
}
