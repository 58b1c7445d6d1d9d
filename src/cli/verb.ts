import type { Command } from 'commander'
import type { JsonSchema } from '../api/schemas/json-schema.ts'
import { cannotStart, codeOf } from '../lib/errors.ts'
import { CommandError, UsageError } from './errors.ts'
import { addOption, argumentOf, type Field, fieldsOf, optionName } from './fields.ts'
import { stringify } from './json-text.ts'
import { createSession, type Query, type Result, type Session, searchOf } from './session.ts'
import { details, rowOf } from './text.ts'

/** The values that a person gave: the ids of the path, the query and the members of the body. */
export interface Input {
  readonly path: string
  readonly query: Readonly<Record<string, unknown>>
  readonly body: Readonly<Record<string, unknown>>
}
type Format = (result: Result, session: Session) => string | Promise<string>

/**
 * A command for one route of the API. Its arguments are the ids of the path and the named fields. Every other field of the route's query
 * and body is an option. A test compares the verbs with the route table, so that no route and no field is missing.
 */
export interface Verb {
  /** The words to type: `webhooks update`. */
  readonly name: string
  readonly description: string
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: string
  /** The schemas of the route. */
  readonly query?: JsonSchema
  readonly body?: JsonSchema
  /** Names of the ids of the path for the help, when they are not the names in the path. */
  readonly ids?: Readonly<Record<string, string>>
  /** The fields that are given as arguments. Those that may be left out have brackets: `[payload]`. */
  readonly arguments?: readonly string[]
  /** Parsers of arguments whose text has another form than the schema expects. */
  readonly parsers?: Readonly<Record<string, (text: string) => unknown>>
  /** Options that have other names than their fields. */
  readonly optionNames?: Readonly<Record<string, string>>
  /** Values of fields that are not given. */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** Fields that have no option or argument, because `run` sets them. */
  readonly withoutOption?: readonly string[]
  /** Whether the route also works without credentials. */
  readonly isOpen?: boolean
  /** The most rows of a list by default; 20 when it is not set. */
  readonly rows?: number
  /** Returns the text for people. Without this function, the text shows all members of the result. */
  readonly format?: Format
  /** Sends the request in another way. The result null means that everything is printed already. */
  readonly run?: (session: Session, input: Input) => Promise<Result | null>
}

const idsOf = (path: string): string[] => [...path.matchAll(/:(\w+)/g)].map(([, name]) => name!)
/** The schema of the option `--limit`. A list reads as many pages as this limit needs. */
const rowLimit: JsonSchema = { type: 'integer', minimum: 1, maximum: 1_000_000 }

/** Adds the command of a verb to its parent command. */
export function addVerb(parent: Command, verb: Verb): Command {
  const { name, description, path, query, body, optionNames = {}, defaults = {}, withoutOption = [] } = verb
  const command = parent.command(name.split(' ').at(-1)!, { isDefault: name.endsWith(' list') }).description(description)
  for (const id of idsOf(path)) command.argument(`<${verb.ids?.[id] ?? id}>`)
  const argumentNames = verb.arguments ?? []
  const queryFields = fieldsOf(query)
  const bodyFields = fieldsOf(body)
  const fields = [...queryFields, ...bodyFields]
  const argumentsOf = argumentNames.map((argument) => fields.find((field) => field.path.join('.') === argument.replace(/[[\]]/g, ''))!)
  for (const [i, field] of argumentsOf.entries())
    command.addArgument(argumentOf(field, argumentNames[i]!.startsWith('['), verb.parsers?.[field.path.join('.')]))
  const isList = query !== undefined && fields.some(isLimit)
  const optionFields = fields.filter((field) => !argumentsOf.includes(field) && !withoutOption.includes(field.path.join('.')))
  for (const field of optionFields) {
    const shown =
      isList && isLimit(field) ? { ...field, schema: { ...rowLimit, description: 'The most rows.', default: verb.rows ?? 20 } } : field
    addOption(command, shown, optionName(field, optionNames), verb.method === 'PATCH', field.path.join('.') in defaults)
  }
  command.action(async (...args: unknown[]) => {
    const session = createSession(command)
    const ids = args.slice(0, idsOf(path).length)
    const values = args.slice(ids.length, ids.length + argumentsOf.length)
    const options = command.opts<Record<string, unknown>>()
    const givenValue = (field: Field): unknown => {
      const i = argumentsOf.indexOf(field)
      const value = i < 0 ? options[camelCase(optionName(field, optionNames))] : values[i]
      return value === false && typeof field.schema.type !== 'string' && !isBoolean(field)
        ? null
        : (value ?? defaults[field.path.join('.')])
    }
    const input: Input = {
      path: idsOf(path).reduce((filled, id, i) => filled.replace(`:${id}`, encodeURIComponent(String(ids[i]))), path),
      query: nest(queryFields, givenValue),
      body: nest(bodyFields, givenValue),
    }
    const result = await (verb.run ?? send(verb, isList))(session, input).catch((error: unknown) => {
      throw naming(
        error,
        idsOf(path).map((id, i) => `${verb.ids?.[id] ?? id} ${ids[i]}`),
      )
    })
    if (result !== null) await print(session, result, verb.format)
  })
  return command
}
/** Returns the error with the ids of the path, if the server has said that there is no such resource. */
function naming(error: unknown, ids: readonly string[]): unknown {
  if (!(error instanceof CommandError) || ids.length === 0 || !error.message.startsWith('404 not_found: ')) return error
  const { retained_since } = rowOf(rowOf(error.envelope).error)
  const since = typeof retained_since === 'string' ? ` What was accepted before ${retained_since} may have expired.` : ''
  return new CommandError(`${error.message.replace(/\.$/, '')}: ${ids.join(', ')}.${since}`, {
    cause: error,
    ...(error.envelope === undefined ? {} : { envelope: error.envelope }),
  })
}
const isLimit = ({ path }: Field): boolean => path.join('.') === 'limit'
const isBoolean = ({ schema }: Field): boolean => schema.type === 'boolean'
const camelCase = (name: string): string => name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())

/** Returns the object with the values of these fields. */
function nest(fields: readonly Field[], givenValue: (field: Field) => unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const field of fields) {
    const value = givenValue(field)
    if (value === undefined) continue
    const [first = '', second] = field.path
    result[first] = second === undefined ? value : { ...(result[first] as object | undefined), [second]: value }
  }
  return result
}

const send =
  ({ method, rows = 20, isOpen = false }: Verb, isList: boolean) =>
  (session: Session, { path, query, body }: Input): Promise<Result> => {
    if (!isList) {
      const text = Object.keys(body).length === 0 && method !== 'PATCH' ? undefined : stringify(body)
      return session.call(method, path + searchOf(query), text, isOpen)
    }
    const { limit = rows, ...filter }: Query = query
    return session.pages(path, filter, Number(limit))
  }

/** Prints a result: with `--json` in the envelope of the API, and withoutOption as text for people. */
export async function print(session: Session, result: Result, format: Format = ({ data }) => details(rowOf(data))): Promise<void> {
  const { data, pagination } = result
  console.log(session.json ? JSON.stringify({ data, error: null, pagination }, null, 2) : await format(result, session))
}
/** Prints the error of a command, and returns the exit code. */
export function printError(error: unknown, isJson: boolean): number {
  if (error instanceof CommandError && isJson)
    console.log(
      JSON.stringify(error.envelope ?? { data: null, error: { code: 'no_response', message: error.message }, pagination: null }, null, 2),
    )
  console.error(`kolbak: ${(error as Error).message}`)
  return error instanceof UsageError ? 2 : codeOf(error) === 'invalid_config' ? cannotStart : 1
}
