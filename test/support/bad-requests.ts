import fc from 'fast-check'
import type { Route } from '../../src/api/route.ts'
import type { JsonSchema } from '../../src/api/schemas/json-schema.ts'
import { badBodies, type KnownValues } from './bad-json.ts'
import { nastyTexts, objectOf, propertiesOf, textOf } from './schema-values.ts'

/** A request as it is sent. */
export interface Sent {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer
}

/** Generates values, of which about one in `n` comes from `odd`. */
export const seldom = <A, B>(n: number, usual: fc.Arbitrary<A>, odd: fc.Arbitrary<B>): fc.Arbitrary<A | B> =>
  fc.oneof({ weight: n - 1, arbitrary: usual }, { weight: 1, arbitrary: odd })

/** Escapes every byte that is not a letter or a digit. Unlike encodeURIComponent, it accepts lone surrogates (as U+FFFD). */
const escaped = (text: string): string =>
  [...Buffer.from(text)].map((byte) => (/[\w.-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${hex(byte)}`)).join('')
const hex = (byte: number) => byte.toString(16).padStart(2, '0')

/** Bad values in the form of a URL: not UTF-8, not an escape, another path, or syntax that other query parsers turn into objects. */
const brokenEscapes = fc.constantFrom(
  '%',
  '%z',
  '%zz',
  '%00',
  '%2',
  '%ff%fe',
  '%c0%af',
  '%ed%a0%80',
  '%2F',
  '%2f..%2f',
  '%u0041',
  '..',
  '%2e%2e',
  '.',
)
const params = (validId: string) => seldom(4, fc.constant(validId), fc.oneof(nastyTexts.map(escaped), brokenEscapes, fc.constant('')))

const strayPairs = fc.constantFrom(
  ...['__proto__[polluted]=1', 'constructor.prototype.polluted=1', 'constructor[prototype][polluted]=1', '__proto__=1', 'toString=1'],
  ...['&', '=', '[]=', '%=%', '%zz=1', 'x', '?limit=1', 'limit[]=3', 'limit[a]=3', 'limit=1;offset=2', '%00=%00', 'ids[]', 'cursor=%ff'],
)
/** Generates a query with the parameter once or more often, with good or bad values. */
function pairsOf(name: string, schema: JsonSchema, given: readonly string[] | undefined): fc.Arbitrary<string[]> {
  const items = schema.type === 'array' ? objectOf(schema.items) : undefined
  const usual = given === undefined ? textOf(items ?? schema) : fc.constantFrom(...given)
  const value = seldom(4, usual.map(escaped), fc.oneof(nastyTexts.map(escaped), brokenEscapes))
  if (items === undefined) {
    const pair = value.map((text) => `${escaped(name)}=${text}`)
    return seldom(12, fc.tuple(pair), fc.array(pair, { minLength: 2, maxLength: 3 }))
  }
  const valueLists = fc.array(value, { minLength: 1, maxLength: 4 }).map((values) => values.join(','))
  const tooMany = value.map((text) => Array(102).fill(text.slice(0, 26)).join(','))
  const pair = fc.tuple(fc.constantFrom(name, `${name}[]`), seldom(20, valueLists, tooMany)).map(([written, text]) => `${written}=${text}`)
  return fc.array(pair, { minLength: 1, maxLength: 2 })
}
function queries({ query }: Route, values: KnownValues): fc.Arbitrary<string> {
  const required = Array.isArray(query?.required) ? query.required : []
  const none = fc.constant<string[]>([])
  const knownParameters = propertiesOf(query ?? {}).map(([name, schema]) =>
    seldom(required.includes(name) ? 8 : 2, pairsOf(name, schema, values[name]?.map(String)), none),
  )
  const stray = strayPairs.map((pair) => [pair])
  return fc.tuple(...knownParameters, seldom(8, none, stray)).map((all) => all.flat().join('&'))
}

const mediaTypes = fc.constantFrom(
  'text/plain',
  'application/json; charset=latin1',
  'application/x-www-form-urlencoded',
  'application/json;;',
  'a',
  'application/json, text/html',
)
/** Header values that are valid and unexpected. */
const strayHeaders = fc.constantFrom(
  '',
  '*',
  '"0"',
  'W/"0"',
  '"99999999999999999999"',
  '"',
  'a b',
  'é',
  '"1","2"',
  'x'.repeat(300),
  '__proto__',
)
const headersOf = ({ requestHeaders = {}, idempotent = false }: Route) => {
  const names = [...Object.keys(requestHeaders), ...(idempotent ? ['Idempotency-Key'] : [])]
  return fc.record(Object.fromEntries(names.map((name) => [name.toLowerCase(), strayHeaders])), { requiredKeys: [] })
}

/**
 * Generates requests of a route from its schemas. About a third of them are valid. The others have at least one fault.
 * @param good a path that names an existing resource
 * @param values of members and parameters by name, if their schema does not describe all rules (such as which URLs are allowed)
 */
export function badRequests(route: Route, good: Readonly<Record<string, string>>, values: KnownValues): fc.Arbitrary<Sent> {
  const steps = route.path.split('/').map((step) => (step.startsWith(':') ? params(good[step.slice(1)] ?? '') : fc.constant(step)))
  const body = route.body === undefined ? fc.constant(undefined) : badBodies(route.body, values)
  const absent = route.bodyOptional === true ? 4 : 30
  const sent = route.body === undefined ? body : seldom(absent, body, fc.constant(undefined))
  const type = seldom(30, fc.constant('application/json'), mediaTypes)
  const headers = seldom(4, fc.constant({}), headersOf(route))
  return fc.record({ steps: fc.tuple(...steps), query: queries(route, values), body: sent, type, headers }).map((pathSteps): Sent => {
    const { body: content, query } = pathSteps
    return {
      path: pathSteps.steps.join('/') + (query === '' ? '' : `?${query}`),
      headers: { ...pathSteps.headers, ...(content === undefined ? {} : { 'content-type': pathSteps.type }) },
      ...(content === undefined ? {} : { body: content }),
    }
  })
}
