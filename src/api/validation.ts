import type { ErrorObject, ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import { isObject } from '../lib/is-object.ts'
import type { Detail } from './errors.ts'
import { toUtc } from './rfc3339.ts'
import type { JsonSchema } from './schemas/json-schema.ts'

/** The most faults that are reported. A body may have thousands. */
const maxDetails = 100

function createAjv(): Ajv2020 {
  // A test validates the schemas against the meta-schema. Here this would take as long as compiling twenty schemas.
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes: false, verbose: true, validateSchema: false })
  formatsPlugin.default(ajv)
  // The format of the plugin accepts offsets without a colon. This format accepts exactly the times that the service can read.
  ajv.addFormat('date-time', { type: 'string', validate: (text: string) => toUtc(text) !== null })
  ajv.addKeyword({ keyword: 'x-rule', schemaType: 'string' })
  ajv.addKeyword({
    keyword: 'x-well-formed',
    type: 'string',
    schemaType: 'boolean',
    validate: (_: boolean, text: string) => text.isWellFormed(),
  })
  return ajv
}
const ajv = createAjv()

type Validated<T> = { readonly value: T; readonly details?: undefined } | { readonly details: Detail[] }

/**
 * Cuts lists to the length that their schema allows, and reports each cut as a fault. The validator searches all items for faults, so a list of half
 * a million items would block the process for a second.
 */
function cutLists(schema: JsonSchema, value: unknown): { value: unknown; details: Detail[] } {
  const { properties } = schema
  if (!isObject(value) || !isObject(properties)) return { value, details: [] }
  const details: Detail[] = []
  const shortened: [string, unknown[]][] = []
  for (const [name, property] of Object.entries(properties)) {
    const list = Object.hasOwn(value, name) ? value[name] : undefined
    const maxItems = isObject(property) ? property.maxItems : undefined
    if (!Array.isArray(list) || typeof maxItems !== 'number' || list.length <= maxItems) continue
    details.push({ path: name, message: `must have at most ${plural(maxItems, 'item')}` })
    shortened.push([name, list.slice(0, maxItems)])
  }
  return { value: shortened.length === 0 ? value : { ...value, ...Object.fromEntries(shortened) }, details }
}

/**
 * Returns a function that returns the value in its type, or all its faults. The schema is compiled for the first value, so that the
 * start does not wait for schemas that may never be used.
 */
export function createValidator<T>(schema: JsonSchema<T>): (value: unknown) => Validated<T> {
  let compiled: ValidateFunction<T> | undefined
  return (rawValue) => {
    compiled ??= ajv.compile<T>(schema)
    const validate = compiled
    const { value, details } = cutLists(schema, rawValue)
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
    // A pattern and a length that both fail give the same sentence, which is reported once.
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
const plural = (count: unknown, singular: string) => `${count} ${count === 1 ? singular : `${singular}s`}`
function messageOf({ keyword, params, parentSchema, message = 'is not accepted' }: ErrorObject): string {
  const rule: unknown = parentSchema?.['x-rule']
  if (typeof rule === 'string' && ['minLength', 'maxLength', 'pattern', 'format'].includes(keyword)) return `must be ${rule}`
  switch (keyword) {
    case 'x-well-formed':
      return 'must not contain half of a surrogate pair, which cannot be stored as UTF-8'
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
