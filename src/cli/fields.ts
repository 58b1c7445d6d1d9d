import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import { toUtc } from '../api/rfc3339.ts'
import type { JsonSchema } from '../api/schemas/json-schema.ts'
import { isObject } from '../lib/is-object.ts'
import { JsonText } from './json-text.ts'

/** A value in a query or a body. A person gives it as an option or as an argument. */
export interface Field {
  /** The names of the members that lead to the value: `['limits', 'webhooks']`. */
  readonly path: readonly string[]
  readonly schema: JsonSchema
  readonly isRequired: boolean
}

/** Returns the fields of a query or a body. The members of an object within it are fields of their own. */
export function fieldsOf(schema: JsonSchema | undefined): Field[] {
  const properties = isObject(schema?.properties) ? schema.properties : {}
  const required = Array.isArray(schema?.required) ? schema.required : []
  return Object.entries(properties).flatMap(([name, property]): Field[] => {
    const member: JsonSchema = isObject(property) ? property : {}
    if (isObject(member.properties)) return fieldsOf(member).map((field) => ({ ...field, path: [name, ...field.path], isRequired: false }))
    return [{ path: [name], schema: member, isRequired: required.includes(name) }]
  })
}

/** Returns all fields of a route: those of its query, and those of its body. */
export const fieldsFor = ({ query, body }: { readonly query?: JsonSchema; readonly body?: JsonSchema }): Field[] => [
  ...fieldsOf(query),
  ...fieldsOf(body),
]

const invalid = (must: string) => new InvalidArgumentError(`It must be ${must}.`)
const typeOf = ({ type }: JsonSchema): unknown => (Array.isArray(type) ? type.find((name) => name !== 'null') : type)
const isNullable = ({ type }: JsonSchema): boolean => Array.isArray(type) && type.includes('null')
const wordsOf = (schema: JsonSchema): string[] | undefined =>
  Array.isArray(schema.enum) ? schema.enum.filter((word): word is string => typeof word === 'string') : undefined

/** Converts a text to the type in the schema. Throws InvalidArgumentError with a sentence. */
export function parseValue(schema: JsonSchema, text: string): unknown {
  const words = wordsOf(schema)
  if (words !== undefined) {
    if (!words.includes(text)) throw invalid(`one of ${words.join(', ')}`)
    return text
  }
  switch (typeOf(schema)) {
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw invalid('true or false')
      return text === 'true'
    case 'integer':
    case 'number':
      return parseNumber(schema, text)
    case 'array':
      return parseList(schema, text)
    case 'object':
      return parseObject(text)
    default:
      return parseText(schema, text)
  }
}

function parseNumber(schema: JsonSchema, text: string): number {
  const isWhole = typeOf(schema) === 'integer'
  const { minimum, maximum, exclusiveMinimum } = schema
  const number = Number(text)
  const limits = [
    ...(typeof exclusiveMinimum === 'number' ? [`above ${exclusiveMinimum}`] : []),
    ...(typeof minimum === 'number' ? [`at least ${minimum}`] : []),
    ...(typeof maximum === 'number' ? [`at most ${maximum}`] : []),
  ]
  const isWithin =
    !(typeof exclusiveMinimum === 'number' && number <= exclusiveMinimum) &&
    !(typeof minimum === 'number' && number < minimum) &&
    !(typeof maximum === 'number' && number > maximum)
  if (!(isWhole ? /^-?\d+$/ : /^-?\d+(\.\d+)?$/).test(text) || !isWithin)
    throw invalid(`${isWhole ? 'a whole number' : 'a number'}${limits.length === 0 ? '' : `, ${limits.join(' and ')}`}`)
  return number
}

function parseList(schema: JsonSchema, text: string): unknown[] {
  const items = isObject(schema.items) ? schema.items : {}
  const values = text === '' ? [] : text.split(',').map((item) => parseValue(items, item.trim()))
  const { minItems, maxItems } = schema
  if (typeof minItems === 'number' && values.length < minItems) throw invalid(`a list of at least ${minItems}`)
  if (typeof maxItems === 'number' && values.length > maxItems) throw invalid(`a list of at most ${maxItems}`)
  return values
}

function parseObject(text: string): JsonText {
  try {
    if (isObject(JSON.parse(text))) return new JsonText(text)
  } catch (error) {
    throw new InvalidArgumentError(`It is not JSON: ${(error as Error).message}.`)
  }
  throw invalid('a JSON object')
}

function parseText(schema: JsonSchema, text: string): string {
  const { format, pattern, minLength, maxLength } = schema
  const rule = typeof schema['x-rule'] === 'string' ? schema['x-rule'] : undefined
  if (format === 'date-time' && toUtc(text) === null) throw invalid('an RFC 3339 time such as 2026-03-31T00:42:50Z')
  if (typeof pattern === 'string' && !new RegExp(pattern, 'u').test(text)) throw invalid(rule ?? `of the form ${pattern}`)
  if (typeof minLength === 'number' && text.length < minLength) throw invalid(rule ?? `at least ${minLength} characters long`)
  if (typeof maxLength === 'number' && text.length > maxLength) throw invalid(rule ?? `at most ${maxLength} characters long`)
  return text
}

/** Returns the placeholder of a value in the help, such as `n` or `true|false`. */
function placeholderOf(schema: JsonSchema): string {
  const words = wordsOf(schema)
  if (words !== undefined) return words.length <= 4 ? words.join('|') : 'word'
  switch (typeOf(schema)) {
    case 'boolean':
      return 'true|false'
    case 'integer':
    case 'number':
      return 'n'
    case 'array':
      return 'a,b,...'
    case 'object':
      return 'json'
    default:
      return schema.format === 'date-time' ? 'time' : 'text'
  }
}
function helpOf({ schema, isRequired }: Field, hasDefault: boolean): string {
  const items = isObject(schema.items) ? schema.items : {}
  const words = wordsOf(schema) ?? wordsOf(items)
  return [
    isRequired && !hasDefault ? 'Required.' : '',
    typeof schema.description === 'string' ? schema.description.replaceAll('`', '') : '',
    words === undefined || words.length <= 4 ? '' : `One of ${words.join(', ')}.`,
    schema.default === undefined ? '' : `Default: ${schema.default}.`,
  ]
    .filter((sentence) => sentence !== '')
    .join(' ')
}

/** Returns the name of the option of a field. @param names the options whose names differ from those of their fields */
export const optionName = ({ path }: Field, names: Readonly<Record<string, string>>): string =>
  names[path.join('.')] ?? path.join('-').replaceAll('_', '-')

/** Adds the options of a field to a command. @param isClearable whether the command can set the field to null */
export function addOption(command: Command, field: Field, name: string, isClearable: boolean, hasDefault: boolean): void {
  const { schema } = field
  const isList = typeOf(schema) === 'array'
  const parse = (text: string, previous: unknown) =>
    isList && Array.isArray(previous) ? [...previous, ...parseList(schema, text)] : parseValue(schema, text)
  const option = new Option(`--${name} <${placeholderOf(schema)}>`, helpOf(field, hasDefault)).argParser(parse)
  command.addOption(option.makeOptionMandatory(field.isRequired && !hasDefault))
  if (isClearable && isNullable(schema)) command.addOption(new Option(`--no-${name}`, `Sets ${field.path.join('.')} to null.`))
}
export const argumentOf = ({ schema, path }: Field, isOptional: boolean, parse = (text: string) => parseValue(schema, text)): Argument => {
  const name = path.join('.')
  const description = typeof schema.description === 'string' ? schema.description.replaceAll('`', '') : ''
  return new Argument(isOptional ? `[${name}]` : `<${name}>`, description).argParser(parse)
}
