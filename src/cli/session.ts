import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import type { Command } from 'commander'

/** The connection of a command to the API, and the printing of its results. */
export interface Session {
  readonly url: string
  readonly json: boolean
  /** Sends a request and returns the body of the response. @param body an object to serialize, or a string that is JSON already */
  call<T>(method: string, path: string, body?: unknown): Promise<T>
  /** Returns the rows of all pages of a list, at most `limit`. */
  pages<T>(path: string, query: Record<string, string | undefined>, limit: number): Promise<T[]>
  /** Returns a fresh bearer token. */
  token(): Promise<{ access_token: string; token_type: string; expires_in: number }>
  print(line: string): void
  /** Prints the result as JSON if the option --json is set, and otherwise as the text that `format` returns. */
  show<T>(result: T, format: (result: T) => string): void
}

/** An error of the user or of the server. It is printed as one sentence, and the exit code is 1. */
export class CommandError extends Error {}

interface Options {
  url: string
  clientId?: string
  clientSecret?: string
  key?: string
  json?: boolean
}

export const withSessionOptions = (command: Command): Command =>
  command
    .option('--url <url>', 'the address of Kolbak (KOLBAK_URL)', env.KOLBAK_URL ?? 'http://127.0.0.1:3000')
    .option('--client-id <id>', 'the id of a client (KOLBAK_CLIENT_ID; default: the client in .kolbak/admin-client.json)')
    .option('--client-secret <secret>', 'the secret of the client (KOLBAK_CLIENT_SECRET)')
    .option('--key <key>', 'an API key to use instead of a client (KOLBAK_API_KEY)')
    .option('--json', 'print results as JSON')

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
  error?: string | { code: string; message: string; details?: { path: string; message: string }[] }
  error_description?: string
}
/** Returns the sentence for an error response, in the envelope of the API or in the form of RFC 6749 (`/v1/auth`). */
function errorSentence(status: number, body: ErrorBody | null): string {
  const error = body?.error
  if (typeof error === 'string') return `${status} ${error}: ${body?.error_description ?? ''}`
  const details = (error?.details ?? []).map((detail) => `\n  ${detail.path || 'body'}: ${detail.message}`)
  return `${status} ${error?.code}: ${error?.message}${details.join('')}`
}

function createSession(command: Command): Session {
  const options = command.optsWithGlobals<Options>()
  const { url, json = false } = options
  const key = options.key ?? env.KOLBAK_API_KEY
  const print = (line: string) => console.log(line)

  const request = async (method: string, path: string, headers: Record<string, string>, body?: string): Promise<unknown> => {
    let response: Response
    try {
      response = await fetch(new URL(path, url), { method, headers, ...(body === undefined ? {} : { body }) })
    } catch (cause) {
      throw new CommandError(`No server responds on ${url}: start Kolbak (npm start) or give --url.`, { cause })
    }
    const text = await response.text()
    const responseBody: unknown = text === '' ? null : JSON.parse(text)
    if (!response.ok) throw new CommandError(errorSentence(response.status, responseBody as ErrorBody | null))
    return responseBody
  }
  const token: Session['token'] = async () => {
    const generated = readGeneratedClient()
    const id = options.clientId ?? env.KOLBAK_CLIENT_ID ?? env.KOLBAK_ADMIN_CLIENT_ID ?? generated?.client_id
    const secret = options.clientSecret ?? env.KOLBAK_CLIENT_SECRET ?? env.KOLBAK_ADMIN_CLIENT_SECRET ?? generated?.client_secret
    if (id === undefined || secret === undefined)
      throw new CommandError(
        'No credentials: give --client-id and --client-secret, or --key, or set KOLBAK_CLIENT_ID and KOLBAK_CLIENT_SECRET (KOLBAK_ADMIN_CLIENT_ID and KOLBAK_ADMIN_CLIENT_SECRET work too).',
      )
    const basic = Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')
    const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' }
    return (await request('POST', '/v1/auth', headers, 'grant_type=client_credentials')) as Awaited<ReturnType<Session['token']>>
  }
  let pendingCredentials: Promise<Record<string, string>> | undefined
  const credentials = () => {
    pendingCredentials ??=
      key !== undefined
        ? Promise.resolve({ 'x-api-key': key })
        : token().then(({ access_token }) => ({ authorization: `Bearer ${access_token}` }))
    return pendingCredentials
  }
  const call: Session['call'] = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const headers = { ...(await credentials()), ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
    return (await request(method, path, headers, body === undefined || typeof body === 'string' ? body : JSON.stringify(body))) as T
  }
  return {
    url,
    json,
    token,
    call,
    async pages<T>(path: string, query: Record<string, string | undefined>, limit: number): Promise<T[]> {
      const rows: T[] = []
      for (let cursor: string | null = ''; cursor !== null && rows.length < limit; ) {
        const parameters = { ...query, limit: String(Math.min(100, limit - rows.length)), ...(cursor === '' ? {} : { cursor }) }
        const search = new URLSearchParams(Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined))
        const page: { data: T[]; pagination: { next_cursor?: string | null } | null } = await call('GET', `${path}?${search}`)
        rows.push(...page.data)
        cursor = page.pagination?.next_cursor ?? null
      }
      return rows
    },
    print,
    show: (result, format) => print(json ? JSON.stringify(result, null, 2) : format(result)),
  }
}

/** Formats rows as a table whose columns are as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[], head: readonly string[]): string {
  if (rows.length === 0) return '(none)'
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Wraps the work of a command for commander: it gets a session, then the arguments and options of the command. */
export const withSession =
  <A extends unknown[]>(work: (session: Session, ...args: A) => Promise<void>) =>
  async (...args: unknown[]): Promise<void> => {
    // Commander passes the command itself as the last argument.
    const command = args.at(-1) as Command
    await work(createSession(command), ...(args.slice(0, -1) as A))
  }
