import fc from 'fast-check'
import type { JsonSchema } from '../../src/api/schemas/json-schema.ts'

const isSchema = (value: unknown): value is JsonSchema => typeof value === 'object' && value !== null && !Array.isArray(value)
export const objectOf = (value: unknown): JsonSchema | undefined => (isSchema(value) ? value : undefined)
/** Returns the members that an object's schema names, each with its schema. */
export const propertiesOf = ({ properties }: JsonSchema): [string, JsonSchema][] =>
  Object.entries(objectOf(properties) ?? {}).map(([name, property]) => [name, objectOf(property) ?? {}])
const numberIn = (value: unknown, otherwise: number) => (typeof value === 'number' ? value : otherwise)

/**
 * Texts that cause faults in careless parsers. They have at most 1,500 characters, so that they fit into Node's limit of headers when escaped in a
 * URL.
 */
export const nastyTexts: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    ...[
      '',
      ' ',
      '\0',
      'a\0b',
      '\u0001\u001f\u007f',
      '\r\nset-cookie: x',
      '\ud800',
      'a\udfffb',
      '\ufeff',
      '\u202e',
      '💥',
      'ﷺ',
      '%00',
      '%',
      "'; --",
    ],
    ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'null', 'undefined', 'NaN', 'true', '-1', '0', '1e3', '0x10', '1.5'],
    ...['9007199254740993', '99999999999999999999', '-0', 'Infinity', '../..', '$1', '[object Object]', '*', '.*', 'a.*.*', 'kolbak.x'],
    ...['0000-01-01T00:00:00Z', '2026-02-30T00:00:00Z', '9999-12-31T23:59:59-23:59', '2026-01-01T23:59:60Z', '2026-01-01', '1-1-1T0:0:0Z'],
    ...[
      '01ARZ3NDEKTSV4RRFFQ69G5FAV',
      '01arz3ndektsv4rrffq69g5fav',
      '0195d3a1-7a4b-5c6d-8e9f-001122334455',
      'a'.repeat(256),
      'a'.repeat(1_500),
    ],
    ...['W10', 'bnVsbA', Buffer.from('["2026-01-01T00:00:00.000Z","\\u0000"]').toString('base64url')],
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
)

/** Generates values that the schema of a scalar accepts, as texts for a parameter of a query. */
export function textOf(schema: JsonSchema): fc.Arbitrary<string> {
  return scalarOf(schema).map((value) => String(value))
}

/** Generates values that the schema of a scalar accepts. For a string with examples it generates only these, because its format may have further rules. */
export function scalarOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const { type, examples, pattern } = schema
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum)
  if (Array.isArray(type)) return fc.oneof(...type.map((typeName: unknown) => scalarOf({ ...schema, type: typeName })))
  switch (type) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'integer':
      return fc.integer({ min: numberIn(schema.minimum, 0), max: Math.min(numberIn(schema.maximum, 1_000), 2_147_483_647) })
    case 'number':
      return fc.integer({ min: 1, max: Math.min(numberIn(schema.maximum, 1_000), 1_000) })
    case 'string': {
      if (Array.isArray(examples)) return fc.constantFrom(...examples)
      if (typeof pattern === 'string') return fc.stringMatching(new RegExp(pattern))
      if (schema.format === 'uuid') return fc.uuid()
      const lengths = { minLength: numberIn(schema.minLength, 0), maxLength: Math.min(numberIn(schema.maxLength, 100), 100) }
      return fc.string(lengths)
    }
    default:
      throw new Error(`scalarOf cannot generate values for ${JSON.stringify(schema)}`)
  }
}
