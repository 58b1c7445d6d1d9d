import { createHttpClient } from '../http-client/client.ts'
import type { RequestTimings } from '../http-client/exchange.ts'
import type { FailureReason } from '../http-client/failure.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import { commonHeaders } from '../lib/request-headers.ts'
import { createNameResolver, type Resolve } from '../lib/resolve.ts'
import { readableBody } from './readable-body.ts'

/** The response of a receiver to one request, or the reason why there is none. A failure is data, not an exception. */
export interface ReceiverResponse {
  /** The HTTP status, or null when none could be read. Only the status line decides the outcome, because Kolbak or the network may cut the rest. */
  readonly code: number | null
  readonly duration_ms: number
  /** The address to which the request was sent, or null if no connection was made. */
  readonly address: string | null
  /** A stable word for the failure if there is no status, or else null. */
  readonly reason: FailureReason | null
  /** A sentence that says what was wrong if there is no status, or else null. It shows no address and quotes no byte of the response. */
  readonly reason_detail: string | null
  /** The first 4 KiB of the response body, converted to UTF-8 as far as its headers allow. */
  readonly body: Buffer
  readonly retryAfter: string | undefined
  /** Some header fields of the response, or null if it has none of them. */
  readonly fields: Readonly<Record<string, string>> | null
  /** Null if the request was sent on a connection that had been used before, or on none. */
  readonly timings: RequestTimings | null
}

export interface Sender {
  /** POSTs the body. It never throws. */
  post(url: string, headers: Record<string, string>, body: Buffer): Promise<ReceiverResponse>
  /** Waits for the requests in flight. */
  close(): Promise<void>
}

/** Sends requests to receivers, through kept-alive connections to addresses that the policy allows. */
export function createSender(options: {
  policy: AddressPolicy
  connectTimeoutMs: number
  requestTimeoutMs: number
  userAgent: string
  /** Resolves names. The default asks /etc/hosts first, and then DNS. */
  resolve?: Resolve
  /** PEM certificates of the authorities to trust, instead of the public authorities. */
  ca?: string
}): Sender {
  const { policy, connectTimeoutMs, requestTimeoutMs, userAgent, resolve = createNameResolver(), ca } = options
  const client = createHttpClient({
    policy,
    resolve,
    connectTimeoutMs,
    requestTimeoutMs,
    headers: commonHeaders(userAgent),
    ca,
  })
  return {
    async post(url, headers, body) {
      const {
        code,
        duration_ms,
        address,
        failure,
        body: rawBody,
        retryAfter,
        contentType,
        contentEncoding,
        fields,
        timings,
      } = await client.post(url, headers, body)
      const readable = readableBody(rawBody, contentType, contentEncoding)
      return {
        code,
        duration_ms,
        address,
        reason: failure?.reason ?? null,
        reason_detail: failure?.detail ?? null,
        body: readable instanceof Promise ? await readable : readable,
        retryAfter,
        fields,
        timings,
      }
    },
    close: () => client.close(),
  }
}
