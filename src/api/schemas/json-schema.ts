declare const accepted: unique symbol
/** Holds the name of a schema in `/openapi.json`. */
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
export const nullable = (schema: JsonSchema): JsonSchema => ({ ...schema, type: [schema.type, 'null'] })
