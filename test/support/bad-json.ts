import fc from 'fast-check'
import type { JsonSchema } from '../../src/api/schemas/json-schema.ts'
import { nastyTexts, objectOf, propertiesOf, scalarOf } from './schema-values.ts'

/** Values by the name of a member. They replace the values that would be generated from its schema. */
export type KnownValues = Readonly<Record<string, readonly unknown[]>>

// Bodies are generated as text, because JSON.stringify cannot write some of them (a name twice, 1e999, very deep values).
const bytes = (text: string) => Buffer.from(text)
const write = (value: unknown): string => JSON.stringify(value)
const member = (name: string, value: string) => `${write(name)}:${value}`
const deep = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth)

/** Values of any type, with numbers and depths that no honest client sends. */
const strays: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    ...[
      'null',
      'true',
      'false',
      '0',
      '-1',
      '-0',
      '1.5',
      '1e999',
      '-1e999',
      '1e-999',
      '1E400',
      '9007199254740993',
      '604800.5',
      '1e9',
      '2147483648',
    ],
    ...['[]', '{}', '[[]]', '[null]', '[{}]', '{"":null}', '[1,"a",null]', '"\\ud800"', '"\\u0000"', '{"__proto__":{"polluted":1}}'],
    ...['{"constructor":{"prototype":{"polluted":1}}}', '{"toString":1,"valueOf":1}', '{"length":-1}', '{"length":1e9}', '{"then":1}'],
    ...['{"toJSON":1}', '{"a":1,"a":2}', `[${'0,'.repeat(2_000)}0]`, `"${'a'.repeat(5_000)}"`, deep('[', ']', 100), deep('[', ']', 20_000)],
    deep('{"a":', '}', 50).replace(':}', ':1}'),
  ),
  nastyTexts.map(write),
  fc.jsonValue().map(write),
)

function values(schema: JsonSchema, known: KnownValues): fc.Arbitrary<string> {
  const { type } = schema
  const types: unknown[] = Array.isArray(type) ? type : [type]
  const validValues = types.map((typeName): fc.Arbitrary<string> => {
    if (typeName === 'object') return members(schema, known)
    const items = objectOf(schema.items)
    if (typeName !== 'array' || items === undefined) return scalarOf({ ...schema, type: typeName }).map(write)
    // Some lists have a forbidden length or the same item twice.
    return fc.array(values(items, known), { minLength: 0, maxLength: 3 }).map((all) => `[${all.join(',')}]`)
  })
  return fc.oneof({ weight: 8, arbitrary: fc.oneof(...validValues) }, { weight: 1, arbitrary: strays })
}

const strayNames = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'x', '', 'tenant', 'id', 'limits.webhooks'),
  nastyTexts,
)

function members(schema: JsonSchema, known: KnownValues): fc.Arbitrary<string> {
  const required: unknown[] = Array.isArray(schema.required) ? schema.required : []
  const members = propertiesOf(schema).map(([name, property]) => {
    const knownValue = known[name]
    const value =
      knownValue === undefined
        ? values(property, known)
        : fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...knownValue.map(write)) }, strays)
    const times = fc.oneof(
      { weight: 30, arbitrary: fc.constant(1) },
      { weight: required.includes(name) ? 2 : 30, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.constant(2) },
    )
    return fc.tuple(times, value, strays).map(([count, ...texts]) => texts.slice(0, count).map((text) => member(name, text)))
  })
  const stray = fc.tuple(strayNames, strays).map(([name, value]) => [member(name, value)])
  const none = fc.constant<string[]>([])
  return fc
    .tuple(...members, fc.oneof({ weight: 9, arbitrary: none }, { weight: 1, arbitrary: stray }))
    .map((all) => `{${all.flat().join(',')}}`)
}

/** Bodies that are not JSON, not UTF-8, or cut off. */
const broken: fc.Arbitrary<(text: string) => Buffer> = fc.oneof(
  fc.nat({ max: 1_000 }).map((at) => (text: string) => Buffer.from(text).subarray(0, at % (text.length + 1))),
  fc.constantFrom(',', '}', '\0', 'x', '{}').map((suffix) => (text: string) => Buffer.from(text + suffix)),
  fc.constant((text: string) => Buffer.from(`\ufeff${text}`)),
  fc.constant((text: string) => Buffer.from(text, 'utf16le')),
  fc.constant((text: string) => Buffer.concat([Buffer.from(text), Buffer.from([0xff])])),
  fc.constant((text: string) => Buffer.from(text.replaceAll('"', "'"))),
  fc.constant((text: string) => Buffer.from(text + ' '.repeat(70_000))),
  fc
    .constantFrom('nul', 'NaN', '{"a"}', '[1,]', '{,}', '"\\x"', '"\n"', '01', '+1', '{"a":1,}')
    .map((badText) => () => Buffer.from(badText)),
)

/**
 * Generates bodies for a schema, from good ones to text that is not JSON. @param known values of members by name, if their schema does not describe
 * all rules
 */
export function badBodies(schema: JsonSchema, known: KnownValues): fc.Arbitrary<Buffer> {
  const whole = members(schema, known)
  const cut = fc.tuple(whole, broken).map(([text, breakIt]) => breakIt(text))
  return fc.oneof({ weight: 16, arbitrary: whole.map(bytes) }, { weight: 2, arbitrary: cut }, { weight: 1, arbitrary: strays.map(bytes) })
}
