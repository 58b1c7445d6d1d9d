declare const described: unique symbol
/** The name of a schema in `/openapi.json`. */
export const schemaName = Symbol('schemaName')

/** A JSON Schema (2020-12), and in its type what it accepts. It validates requests and is shown in `/openapi.json`. */
export interface JsonSchema<T = unknown> {
  readonly [keyword: string]: unknown
  readonly [schemaName]?: string
  readonly [described]?: T
}

/** Gives a schema a name, under which `/openapi.json` refers to it. */
export const named = <T>(name: string, schema: JsonSchema<T>): JsonSchema<T> => ({ ...schema, [schemaName]: name })

/** An object of exactly these members; all but the optional ones are required. */
export function object<T>(properties: Readonly<Record<string, JsonSchema>>, optional: readonly string[] = []): JsonSchema<T> {
  return {
    type: 'object',
    properties,
    required: Object.keys(properties).filter((name) => !optional.includes(name)),
    additionalProperties: false,
  }
}
/** The same schema, or null. */
export const nullable = (schema: JsonSchema): JsonSchema => ({ ...schema, type: [schema.type, 'null'] })
