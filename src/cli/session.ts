import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import type { Command } from 'commander'

/** What the commands read of the environment; the service itself knows of none of it. */
export interface Session {
  readonly url: string
  readonly json: boolean
  /** @param body JSON as it stands when it is a string */
  call<T>(method: string, path: string, body?: unknown): Promise<T>
  /** All pages of a list, up to `limit` rows. */
  pages<T>(path: string, query: Record<string, string | undefined>, limit: number): Promise<T[]>
  /** A fresh bearer token. */
  token(): Promise<{ access_token: string; token_type: string; expires_in: number }>
  print(line: string): void
  /** The answer as JSON with --json, else what `show` makes of it. */
  show<T>(answer: T, show: (answer: T) => string): void
}

/** An answer that is not what was asked for: printed as one sentence, exit code 1. */
export class Refused extends Error {}

interface Options {
  url: string
  clientId?: string
  clientSecret?: string
  key?: string
  json?: boolean
}

export const withSessionOptions = (command: Command): Command =>
  command
    .option('--url <url>', 'where Kolbak listens (KOLBAK_URL)', env.KOLBAK_URL ?? 'http://127.0.0.1:3000')
    .option('--client-id <id>', 'client id (KOLBAK_CLIENT_ID; default: that of .kolbak/admin-client.json)')
    .option('--client-secret <secret>', 'its secret (KOLBAK_CLIENT_SECRET)')
    .option('--key <key>', 'an API key instead of a client (KOLBAK_API_KEY)')
    .option('--json', 'print the answers as JSON')

/** The admin client that a first start has left in the data folder. */
function generatedClient(): { client_id: string; client_secret: string } | null {
  try {
    const folder = env.KOLBAK_DATA_DIR ?? '.kolbak'
    return JSON.parse(readFileSync(join(folder, 'admin-client.json'), 'utf8')) as { client_id: string; client_secret: string }
  } catch {
    return null // there is none: credentials must be given
  }
}

export function session(command: Command): Session {
  const options = command.optsWithGlobals<Options>()
  const { url, json = false } = options
  const key = options.key ?? env.KOLBAK_API_KEY
  const print = (line: string) => console.log(line)

  const request = async (method: string, path: string, headers: Record<string, string>, body?: string): Promise<unknown> => {
    let response: Response
    try {
      response = await fetch(new URL(path, url), { method, headers, ...(body === undefined ? {} : { body }) })
    } catch (cause) {
      throw new Refused(`Nothing answers on ${url}: start Kolbak (npm start) or give --url.`, { cause })
    }
    const text = await response.text()
    const answer = text === '' ? null : (JSON.parse(text) as { error?: unknown; error_description?: string })
    if (response.ok) return answer
    const error = answer?.error as { code: string; message: string; details?: { path: string; message: string }[] } | string | undefined
    if (typeof error === 'string') throw new Refused(`${response.status} ${error}: ${answer?.error_description ?? ''}`)
    const details = (error?.details ?? []).map((detail) => `\n  ${detail.path || 'body'}: ${detail.message}`)
    throw new Refused(`${response.status} ${error?.code}: ${error?.message}${details.join('')}`)
  }
  const token: Session['token'] = async () => {
    const generated = generatedClient()
    const id = options.clientId ?? env.KOLBAK_CLIENT_ID ?? env.KOLBAK_ADMIN_CLIENT_ID ?? generated?.client_id
    const secret = options.clientSecret ?? env.KOLBAK_CLIENT_SECRET ?? env.KOLBAK_ADMIN_CLIENT_SECRET ?? generated?.client_secret
    if (id === undefined || secret === undefined)
      throw new Refused(
        'Who are you? Give --client-id and --client-secret (or KOLBAK_CLIENT_ID and KOLBAK_CLIENT_SECRET, or KOLBAK_ADMIN_CLIENT_ID and KOLBAK_ADMIN_CLIENT_SECRET as the service has them), or --key.',
      )
    const basic = Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')
    const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' }
    return (await request('POST', '/v1/auth', headers, 'grant_type=client_credentials')) as Awaited<ReturnType<Session['token']>>
  }
  let known: Promise<Record<string, string>> | undefined
  const credentials = () => {
    known ??=
      key !== undefined
        ? Promise.resolve({ 'x-api-key': key })
        : token().then(({ access_token }) => ({ authorization: `Bearer ${access_token}` }))
    return known
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
        const wanted = { ...query, limit: String(Math.min(100, limit - rows.length)), ...(cursor === '' ? {} : { cursor }) }
        const search = new URLSearchParams(Object.entries(wanted).filter((entry): entry is [string, string] => entry[1] !== undefined))
        const page: { data: T[]; pagination: { next_cursor?: string | null } | null } = await call('GET', `${path}?${search}`)
        rows.push(...page.data)
        cursor = page.pagination?.next_cursor ?? null
      }
      return rows
    },
    print,
    show: (answer, show) => print(json ? JSON.stringify(answer, null, 2) : show(answer)),
  }
}

/** Columns side by side, as wide as they need to be. */
export function table(rows: readonly (readonly string[])[], head: readonly string[]): string {
  if (rows.length === 0) return '(none)'
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Runs a command's action with a session of its own; what is refused is said in a sentence. */
export const action =
  <A extends unknown[]>(work: (session: Session, ...given: A) => Promise<void>) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command
    await work(session(command), ...(given.slice(0, -1) as A))
  }
