import type { ErrorObject, ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import type { Detail } from './errors.ts'
import { toUtc } from './rfc3339.ts'
import type { JsonSchema } from './schemas/json-schema.ts'

/** A body of thousands of faults is told of its first ones. */
const maxDetails = 100

function createAjv(): Ajv2020 {
  // The schemas are our own, and held against the standard's by a test: compiling that one takes as long as twenty of them.
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes: false, verbose: true, validateSchema: false })
  formatsPlugin.default(ajv)
  // Stricter than the plugin's, which takes offsets without a colon, and exactly what the code behind it can read.
  ajv.addFormat('date-time', { type: 'string', validate: (text: string) => toUtc(text) !== null })
  ajv.addKeyword({ keyword: 'x-rule', schemaType: 'string' })
  return ajv
}
const ajv = createAjv()

export type Checked<T> = { readonly value: T; readonly details?: undefined } | { readonly details: Detail[] }

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Lists that are longer than their schema allows, cut to what it allows and told as faults. All faults are looked for in
 * all items, so a list of half a million would hold up everybody else for a second.
 */
function bounded(schema: JsonSchema, value: unknown): { value: unknown; details: Detail[] } {
  const { properties } = schema
  if (!isObject(value) || !isObject(properties)) return { value, details: [] }
  const details: Detail[] = []
  const cut: [string, unknown[]][] = []
  for (const [name, property] of Object.entries(properties)) {
    const list = Object.hasOwn(value, name) ? value[name] : undefined
    const most = isObject(property) ? property.maxItems : undefined
    if (!Array.isArray(list) || typeof most !== 'number' || list.length <= most) continue
    details.push({ path: name, message: `must have at most ${plural(most, 'item')}` })
    cut.push([name, list.slice(0, most)])
  }
  return { value: cut.length === 0 ? value : { ...value, ...Object.fromEntries(cut) }, details }
}

/** Answers the value in its type, or every fault of it. Compiled with the first value: no start waits for what may never be asked. */
export function checker<T>(schema: JsonSchema<T>): (value: unknown) => Checked<T> {
  let compiled: ValidateFunction<T> | undefined
  return (given) => {
    compiled ??= ajv.compile<T>(schema)
    const validate = compiled
    const { value, details } = bounded(schema, given)
    const isValid = validate(value)
    if (isValid && details.length === 0) return { value }
    return { details: [...details, ...detailsOf(validate.errors ?? [])] }
  }
}

function detailsOf(errors: readonly ErrorObject[]): Detail[] {
  const details = new Map<string, Detail>()
  for (const error of errors) {
    const path = pathOf(error)
    const message = messageOf(error)
    // One sentence a fault: a pattern and a length that both fail say the same rule.
    if (details.size < maxDetails) details.set(`${path}\n${message}`, { path, message })
  }
  return [...details.values()]
}
function pathOf(error: ErrorObject): string {
  const steps = error.instancePath
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (error.keyword === 'required') steps.push(String(error.params.missingProperty))
  if (error.keyword === 'additionalProperties') steps.push(String(error.params.additionalProperty))
  return steps.join('.')
}
const plural = (n: unknown, one: string) => `${n} ${n === 1 ? one : `${one}s`}`
function messageOf({ keyword, params, parentSchema, message = 'is not accepted' }: ErrorObject): string {
  const rule: unknown = parentSchema?.['x-rule']
  if (typeof rule === 'string' && ['minLength', 'maxLength', 'pattern', 'format'].includes(keyword)) return `must be ${rule}`
  switch (keyword) {
    case 'required':
      return 'is required'
    case 'additionalProperties':
      return 'is not a known field'
    case 'enum':
      return `must be one of ${[params.allowedValues].flat().join(', ')}`
    case 'type':
      return `must be ${[params.type].flat().join(' or ')}`
    case 'minLength':
      return `must have at least ${plural(params.limit, 'character')}`
    case 'maxLength':
      return `must have at most ${plural(params.limit, 'character')}`
    case 'minItems':
      return `must have at least ${plural(params.limit, 'item')}`
    case 'maxItems':
      return `must have at most ${plural(params.limit, 'item')}`
    case 'uniqueItems':
      return 'must not hold the same value twice'
    default:
      return message
  }
}
