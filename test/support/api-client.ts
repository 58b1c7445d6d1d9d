import type { CheckedResponse } from './api-conformance.ts'

export type Credential = { readonly token: string } | { readonly key: string }
export interface Call {
  readonly as?: Credential | undefined
  /** A body that is sent as JSON. */
  readonly body?: unknown
  /** A body that is sent unchanged. */
  readonly raw?: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
}
export interface Reply extends CheckedResponse {
  /** The parsed body, when it is JSON. */
  readonly body: unknown
  /** Returns the value at a path such as `data.id` as text. Throws when there is none. */
  get(path: string): string
  /** Returns whether the body has a value at the path. Null counts as a value. */
  has(path: string): boolean
}
export type Client = (method: string, path: string, call?: Call) => Promise<Reply>

const credentialHeaders = (as: Credential | undefined): Record<string, string> =>
  as === undefined ? {} : 'token' in as ? { authorization: `Bearer ${as.token}` } : { 'x-api-key': as.key }

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
function valueAt(body: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, step) => (isObject(value) && Object.hasOwn(value, step) ? value[step] : undefined), body)
}

/** Returns the body of a response. A live stream has no end, so it is read only until its first chunk. */
async function textOf(response: Response): Promise<string> {
  if (!(response.headers.get('content-type') ?? '').startsWith('text/event-stream') || response.body === null) return response.text()
  const reader = response.body.getReader()
  const { value } = await reader.read()
  await reader.cancel()
  return new TextDecoder().decode(value)
}

/** Returns a client of the API that passes every response to `check`. */
export function client(origin: string, check: (response: CheckedResponse) => void): Client {
  return async (method, path, { as, body, raw, headers = {} } = {}) => {
    const content = raw ?? (body === undefined ? undefined : JSON.stringify(body))
    const response = await fetch(origin + path, {
      method,
      headers: { ...credentialHeaders(as), ...(content === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(content === undefined ? {} : { body: typeof content === 'string' ? content : new Uint8Array(content) }),
    })
    const text = await textOf(response)
    const checked = { method, path, status: response.status, headers: response.headers, text }
    check(checked)
    const isJson = (response.headers.get('content-type') ?? '').startsWith('application/json') && text !== ''
    const parsed: unknown = isJson ? JSON.parse(text) : undefined
    return {
      ...checked,
      body: parsed,
      has: (at) => valueAt(parsed, at) !== undefined,
      get(at) {
        const value = valueAt(parsed, at)
        if (value === undefined || value === null) throw new Error(`${method} ${path}: no ${at} in ${response.status} ${text}`)
        return String(value)
      },
    }
  }
}
