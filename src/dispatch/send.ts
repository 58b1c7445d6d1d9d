import { createHttpClient } from '../http-client/client.ts'
import type { FailureReason } from '../http-client/failure.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import { createNameResolver, type Resolve } from '../lib/resolve.ts'
import { readableBody } from './readable-body.ts'

/** What the receiver sent back to one request, or why nothing came. A failure is data, not an exception. */
export interface ReceiverResponse {
  /** The status, or null when none could be read. The status line alone decides, because the rest may be cut, by us or on the way. */
  readonly code: number | null
  readonly duration_ms: number
  /** A stable word when there is no status, else null. It never shows an address. */
  readonly reason: FailureReason | null
  /** What was wrong, in a sentence, when there is no status. It shows no address and quotes no byte of the response. */
  readonly reason_detail: string | null
  /** The first 4 KiB of the body, as text in UTF-8 if its headers say how to read it. */
  readonly body: Buffer
  readonly retryAfter: string | undefined
}

export interface Sender {
  /** POSTs the body; never throws. */
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
  /** Default: /etc/hosts, then DNS. */
  resolve?: Resolve
  /** Certificates of authorities in PEM to trust instead of the public ones. */
  ca?: string
}): Sender {
  const { policy, connectTimeoutMs, requestTimeoutMs, userAgent, resolve = createNameResolver(), ca } = options
  const client = createHttpClient({
    policy,
    resolve,
    connectTimeoutMs,
    requestTimeoutMs,
    // Firewalls with the OWASP core rule set refuse requests without Accept.
    headers: { 'User-Agent': userAgent, Accept: '*/*', 'Content-Type': 'application/json' },
    ca,
  })
  return {
    async post(url, headers, body) {
      const { code, duration_ms, failure, body: rawBody, retryAfter, contentType, contentEncoding } = await client.post(url, headers, body)
      const readable = readableBody(rawBody, contentType, contentEncoding)
      return {
        code,
        duration_ms,
        reason: failure?.reason ?? null,
        reason_detail: failure?.detail ?? null,
        body: readable instanceof Promise ? await readable : readable,
        retryAfter,
      }
    },
    close: () => client.close(),
  }
}
