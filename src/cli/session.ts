import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import type { Command } from 'commander'
import { isObject } from '../lib/is-object.ts'
import { CommandError, UsageError } from './errors.ts'
import { isJson, parseExactly } from './json-text.ts'

/** The result of a command. `--json` prints it in the envelope of the API. */
export interface Result {
  readonly data: unknown
  readonly pagination: unknown
  /** The body of the response as the server sent it. */
  readonly text: string
}
/** The connection of a command to the API. */
export interface Session {
  readonly url: string
  readonly json: boolean
  /** Sends a request and returns its result. @param body JSON @param isOpen whether the route also works without credentials */
  call(method: string, path: string, body?: string, isOpen?: boolean): Promise<Result>
  /** Sends a GET request, and returns the response before its body has arrived. Throws for an error response. */
  open(path: string): Promise<Response>
  /** Returns the rows of all pages of a list, at most `limit` rows, and the pagination of the last page. */
  pages(path: string, query: Query, limit: number): Promise<Result>
  /** Returns a fresh bearer token. @param scope the requested scopes; default all scopes of the client */
  token(scope?: string): Promise<Result>
}
export type Query = Readonly<Record<string, unknown>>

interface Options {
  url?: string
  clientId?: string
  clientSecret?: string
  key?: string
  auditReason?: string
  json?: boolean
}

export const withSessionOptions = (command: Command): Command =>
  command
    .option('--url <url>', 'the address of Kolbak (KOLBAK_URL; default http://127.0.0.1:3000)')
    .option(
      '--client-id <id>',
      'the id of a client (KOLBAK_CLIENT_ID or KOLBAK_ADMIN_CLIENT_ID; default: the client in .kolbak/admin-client.json)',
    )
    .option('--client-secret <secret>', 'the secret of the client (KOLBAK_CLIENT_SECRET or KOLBAK_ADMIN_CLIENT_SECRET)')
    .option('--key <key>', 'an API key to use instead of a client (KOLBAK_API_KEY)')
    .option('--audit-reason <text>', 'why a change is made, without personal data; the audit log keeps these words for ever')
    .option('--json', 'print the result as JSON, in the envelope {data, error, pagination} of the API')

interface ClientFile {
  client_id: string
  client_secret: string
}
/** Returns the admin client that the first start wrote to the data folder, or null when there is no such file. */
function readGeneratedClient(): ClientFile | null {
  try {
    return JSON.parse(readFileSync(join(env.KOLBAK_DATA_DIR ?? '.kolbak', 'admin-client.json'), 'utf8')) as ClientFile
  } catch {
    return null
  }
}

interface ErrorBody {
  error?: string | { code: string; message: string; details?: { path: string; message: string }[]; retained_since?: string }
  error_description?: string
}
/** Returns the error for an error response, in the envelope of the API or in the form of RFC 6749 (`/v1/auth`). */
function errorOf(status: number, body: ErrorBody | null): CommandError {
  const error = body?.error
  if (typeof error === 'string') {
    const message = body?.error_description ?? ''
    return new CommandError(`${status} ${error}: ${message}`, {
      envelope: { data: null, error: { code: error, message }, pagination: null },
    })
  }
  if (error === undefined) return new CommandError(`The server responds with ${status}, but not as Kolbak does. Is the address right?`)
  const details = (error.details ?? []).map((detail) => `\n  ${detail.path || 'body'}: ${detail.message}`)
  return new CommandError(`${status} ${error.code}: ${error.message}${details.join('')}`, {
    envelope: { data: null, error, pagination: null },
  })
}

const resultOf = (text: string): Result => {
  if (text === '') return { data: null, pagination: null, text }
  const body = parseExactly(text)
  // A single webhook is sent without an envelope.
  return isObject(body) && 'data' in body && 'error' in body
    ? { data: body.data, pagination: body.pagination ?? null, text }
    : { data: body, pagination: null, text }
}

function addressOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new UsageError(`The address ${JSON.stringify(text)} is not a URL: give one such as http://127.0.0.1:3000.`)
  return url
}

/** Returns the query of a URL, with its question mark. A list is joined with commas. */
export function searchOf(query: Query): string {
  const parameters = Object.entries(query).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, String(value)]],
  )
  return parameters.length === 0 ? '' : `?${new URLSearchParams(parameters)}`
}

export function createSession(command: Command): Session {
  const options = command.optsWithGlobals<Options>()
  const { json = false } = options
  const url = options.url ?? env.KOLBAK_URL ?? 'http://127.0.0.1:3000'
  const base = addressOf(url)
  const key = options.key ?? env.KOLBAK_API_KEY
  const reason: Record<string, string> = options.auditReason === undefined ? {} : { 'kolbak-reason': options.auditReason }

  const request = async (method: string, path: string, headers: Record<string, string>, body?: string) => {
    try {
      const response = await fetch(new URL(path, base), { method, headers, ...(body === undefined ? {} : { body }) })
      return { status: response.status, ok: response.ok, text: await response.text() }
    } catch (cause) {
      throw new CommandError(`No server responds on ${url}: start Kolbak (npm start) or give --url.`, { cause })
    }
  }
  const token: Session['token'] = async (scope) => {
    const generated = readGeneratedClient()
    const id = options.clientId ?? env.KOLBAK_CLIENT_ID ?? env.KOLBAK_ADMIN_CLIENT_ID ?? generated?.client_id
    const secret = options.clientSecret ?? env.KOLBAK_CLIENT_SECRET ?? env.KOLBAK_ADMIN_CLIENT_SECRET ?? generated?.client_secret
    if (id === undefined || secret === undefined)
      throw new UsageError(
        'There are no credentials: give --client-id and --client-secret, or --key, or set KOLBAK_CLIENT_ID and KOLBAK_CLIENT_SECRET (KOLBAK_ADMIN_CLIENT_ID and KOLBAK_ADMIN_CLIENT_SECRET work too).',
      )
    const body = { grant_type: 'client_credentials', client_id: id, client_secret: secret, ...(scope === undefined ? {} : { scope }) }
    const { status, ok, text } = await request('POST', '/v1/auth', { 'content-type': 'application/json' }, JSON.stringify(body))
    if (!ok) throw errorOf(status, isJson(text) ? (JSON.parse(text) as ErrorBody) : null)
    return resultOf(text)
  }
  let credentials: Promise<Record<string, string>> | undefined
  const freshCredentials = async (isOpen: boolean): Promise<Record<string, string>> => {
    if (key !== undefined) return { 'x-api-key': key }
    try {
      const { data } = await token()
      return { authorization: `Bearer ${(data as { access_token: string }).access_token}` }
    } catch (error) {
      if (isOpen) return {}
      throw error
    }
  }
  const call: Session['call'] = async (method, path, body, isOpen = false) => {
    const send = async () => {
      credentials ??= freshCredentials(isOpen)
      const headers = { ...(await credentials), ...reason, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
      return request(method, path, headers, body)
    }
    const hadCredentials = credentials !== undefined
    let response = await send()
    if (response.status === 401 && hadCredentials) {
      credentials = undefined // the token has expired while the command was running
      response = await send()
    }
    const { status, ok, text } = response
    if (!ok) throw errorOf(status, isJson(text) ? (JSON.parse(text) as ErrorBody) : null)
    return isJson(text) || text === '' ? resultOf(text) : { data: text, pagination: null, text }
  }
  const open: Session['open'] = async (path) => {
    credentials = freshCredentials(false) // the token of the last call may have expired
    try {
      const response = await fetch(new URL(path, base), { headers: await credentials })
      if (response.ok) return response
      const text = await response.text()
      throw errorOf(response.status, isJson(text) ? (JSON.parse(text) as ErrorBody) : null)
    } catch (cause) {
      if (cause instanceof CommandError) throw cause
      throw new CommandError(`No server responds on ${url}: start Kolbak (npm start) or give --url.`, { cause })
    }
  }
  const pages: Session['pages'] = async (path, query, limit) => {
    const rows: unknown[] = []
    let next: Query | null = {}
    let last: Result = { data: [], pagination: null, text: '' }
    while (next !== null && rows.length < limit) {
      last = await call('GET', `${path}${searchOf({ ...query, ...next, limit: Math.min(100, limit - rows.length) })}`)
      rows.push(...(last.data as unknown[]))
      next = nextPage(last, Number(query.offset ?? 0) + rows.length)
    }
    const pagination = isObject(last.pagination) ? { ...last.pagination, limit } : null
    return { ...last, data: rows, pagination }
  }
  return { url, json, token, call, open, pages }
}

/** Returns the parameters of the next page, or null at the end. */
function nextPage({ data, pagination }: Result, offset: number): Query | null {
  if (!isObject(pagination)) return null
  if (typeof pagination.next_cursor === 'string') return { cursor: pagination.next_cursor }
  return typeof pagination.total === 'number' && offset < pagination.total && (data as unknown[]).length > 0 ? { offset } : null
}
