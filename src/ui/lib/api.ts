import { effect, signal } from '@preact/signals'

/** A fault of a value in a request, as the API reports it. */
export interface Detail {
  readonly path: string
  readonly message: string
}
/** A request that failed, with what a person needs to act on it. */
export class Failure extends Error {
  /** The HTTP status, or 0 if there was no response. */
  readonly status: number
  readonly code: string
  readonly details: readonly Detail[]
  readonly requestId: string
  /** Seconds after which the request may be repeated, or null. */
  readonly retryAfter: number | null
  constructor(message: string, fields: Pick<Failure, 'status' | 'code' | 'details' | 'requestId' | 'retryAfter'>) {
    super(message)
    this.status = fields.status
    this.code = fields.code
    this.details = fields.details
    this.requestId = fields.requestId
    this.retryAfter = fields.retryAfter
  }
}
export interface Reply<T> {
  readonly body: T
  /** The response exactly as it was sent. */
  readonly text: string
  readonly etag: string | null
  /** The name of a read model that does not show the latest change yet, or null. */
  readonly lag: string | null
}
export interface Call {
  readonly body?: unknown
  readonly ifMatch?: string | null
  readonly signal?: AbortSignal
}

/** Whether the browser has a session: null until the first response shows it. */
export const isSignedIn = signal<boolean | null>(null)
/** The time (ms) at which the latest change was sent. What was read before may be out of date. */
export let changedAt = 0
/** Whether the latest request got no response at all. */
export const isOffline = signal(false)
/** Milliseconds between two requests that find out whether the service responds again. */
const probeMs = 3_000
effect(() => {
  if (!isOffline.value) return
  // A failure is noted in `isOffline` already, so there is nothing to do with the error here.
  const timer = setInterval(() => send('GET', '/v1/me').catch(() => undefined), probeMs)
  return () => clearInterval(timer)
})

const randomId = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('')

/** Sends a request to the service. The browser adds the session. Throws a Failure unless the status is 2xx. */
export async function send<T = unknown>(method: string, path: string, { body, ifMatch, signal: aborted }: Call = {}): Promise<Reply<T>> {
  const requestId = `ui-${randomId()}` // the audit log keeps this header, so that a change can be traced to the dashboard
  const headers: Record<string, string> = { 'x-kolbak-ui': '1', 'x-request-id': requestId, accept: 'application/json' }
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (ifMatch !== undefined && ifMatch !== null) headers['if-match'] = ifMatch
  let response: Response
  try {
    response = await fetch(path, {
      method,
      headers,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(aborted === undefined ? {} : { signal: aborted }),
    })
  } catch (cause) {
    if (aborted?.aborted) throw cause
    isOffline.value = true
    throw new Failure('Kolbak does not respond. It may be restarting, or the connection is gone.', {
      ...{ status: 0, code: 'no_response', details: [], requestId, retryAfter: null },
    })
  }
  isOffline.value = false
  if (method !== 'GET') changedAt = performance.now()
  const text = await response.text()
  const parsed = parse(text)
  if (!response.ok) {
    if (response.status === 401 && !path.startsWith('/ui/')) isSignedIn.value = false
    throw failureOf(response, parsed, requestId)
  }
  return { body: parsed as T, text, etag: response.headers.get('etag'), lag: response.headers.get('projection-lag') }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null // the body is empty, or has lines of JSON
  }
}
function failureOf(response: Response, body: unknown, requestId: string): Failure {
  const { error } = (body ?? {}) as { error?: { code?: string; message?: string; details?: readonly Detail[] } }
  const after = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new Failure(error?.message ?? `The service responded with status ${response.status}.`, {
    status: response.status,
    code: error?.code ?? 'unknown',
    details: error?.details ?? [],
    requestId: response.headers.get('x-request-id') ?? requestId,
    retryAfter: Number.isFinite(after) ? after : null,
  })
}

/** Returns the path with a query made of the values that are set. */
export function withQuery(path: string, values: Readonly<Record<string, string | number | undefined | null>>): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(values))
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value))
  const text = search.toString()
  return text === '' ? path : `${path}?${text}`
}
