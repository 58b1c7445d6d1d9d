import { setTimeout as sleep } from 'node:timers/promises'
import { giveUpAfterMs } from './patience.ts'
import { admin } from './service.ts'
import { waitFor } from './wait-for.ts'

export interface ApiResponse<T = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
}
/** A client of the API. */
export interface Client {
  readonly token: string
  call<T>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiResponse<T>>
  get<T>(path: string): Promise<T>
  post<T>(path: string, body: unknown): Promise<T>
  patch<T>(path: string, body: unknown): Promise<T>
}

export async function clientOf(url: string, credentials = admin): Promise<Client> {
  let token = ''
  const call = async <T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<ApiResponse<T>> => {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const reply = { status: response.status, headers: response.headers, body: (text === '' ? null : JSON.parse(text)) as T }
    if (reply.headers.has('projection-lag')) await untilReadable(method, path, reply)
    return reply
  }
  /** Waits until a change can be read. On a busy machine, the API responds after a second although its read model is behind. */
  const untilReadable = async (method: string, path: string, { headers, body }: ApiResponse): Promise<void> => {
    const { id, data } = (body ?? {}) as { id?: string; data?: { id?: string } }
    const created = id ?? data?.id
    if (method === 'POST' && created === undefined) return
    const resource = method === 'POST' ? `${path}/${created}` : path.split('?')[0]!
    await waitFor(
      async () => {
        const read = await call('GET', resource)
        return method === 'DELETE' ? read.status === 404 : read.headers.get('etag') === headers.get('etag')
      },
      { what: `${method} ${path} to be readable` },
    )
  }
  const expectSuccess = <T>(method: string, path: string, reply: ApiResponse<T>): T => {
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }
  const must = async <T>(method: string, path: string, body?: unknown): Promise<T> =>
    expectSuccess(method, path, await call<T>(method, path, body))
  const { access_token } = await must<{ access_token: string }>('POST', '/v1/auth', {
    grant_type: 'client_credentials',
    client_id: credentials.id,
    client_secret: credentials.secret,
  })
  token = access_token
  return {
    token,
    call,
    async get<T>(path: string) {
      const startedAt = performance.now()
      for (;;) {
        const reply = await call<T>('GET', path)
        // The event is not routed yet.
        const isTooEarly = reply.status === 404 && reply.headers.has('retry-after')
        if (!isTooEarly || performance.now() - startedAt > giveUpAfterMs) return expectSuccess('GET', path, reply)
        await sleep(100)
      }
    },
    post: (path, body) => must('POST', path, body),
    patch: (path, body) => must('PATCH', path, body),
  }
}

/** The fields of the API's responses that the tests read. */
export interface WebhookResponse {
  id: string
  callback_url: string
  event: string
  is_active: boolean
  secret: string
  deactivation_reason: string | null
  failing_since: string | null
}
export interface AttemptResponse {
  number: number
  chain: number
  at: string
  status: string
  response_code: number | null
  duration_ms: number | null
  reason: string | null
  reason_detail: string | null
  response_body: string | null
  response_truncated: boolean
}
export interface DeliveryResponse {
  id: string
  event_id: string
  webhook_id: string
  status: string
  chain: number
  attempt_count: number
  next_attempt_at: string | null
  last_response_code: number | null
  last_reason: string | null
  attempts: AttemptResponse[]
}
export interface Page<T> {
  data: T[]
  pagination: { limit: number; next_cursor: string | null }
}

/** Returns all deliveries of a webhook, or those of one status. */
export async function allDeliveries(api: Client, webhook: string, status?: string): Promise<DeliveryResponse[]> {
  const deliveries: DeliveryResponse[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const from: string = `${status === undefined ? '' : `&status=${status}`}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const page: Page<DeliveryResponse> = await api.get(`/v1/webhooks/${webhook}/deliveries?limit=100${from}`)
    deliveries.push(...page.data)
    cursor = page.pagination.next_cursor
  }
  return deliveries
}
