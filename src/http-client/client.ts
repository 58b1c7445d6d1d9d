import type { AddressPolicy } from '../lib/addresses.ts'
import type { Resolve } from '../lib/resolve.ts'
import { createConnector } from './connect.ts'
import { createConnections } from './connections.ts'
import { Exchange, type ExchangeResult } from './exchange.ts'
import type { Failure } from './failure.ts'
import { createTargetCache, headerFault, requestOf } from './request.ts'

export interface HttpClientOptions {
  readonly policy: AddressPolicy
  readonly resolve: Resolve
  /** The most milliseconds for resolving the name, connecting and the TLS handshake together. */
  readonly connectTimeoutMs: number
  /** The most milliseconds for connecting and the whole response together. */
  readonly requestTimeoutMs: number
  /** Headers that every request has. */
  readonly headers: Readonly<Record<string, string>>
  /** The most connections that are kept idle for their next request. */
  readonly maxIdle?: number
  /** PEM certificates of the authorities to trust, instead of the public authorities. */
  readonly ca?: string | undefined
}
export interface HttpClient {
  /** POSTs the body. It never throws. */
  post(url: string, headers: Readonly<Record<string, string>>, body: Buffer): Promise<ExchangeResult>
  /** Waits for the requests in flight. */
  close(): Promise<void>
}

const failedAtOnce = (failure: Failure): ExchangeResult => ({
  code: null,
  duration_ms: 0,
  address: null,
  failure,
  body: Buffer.alloc(0),
  retryAfter: undefined,
  contentType: undefined,
  contentEncoding: undefined,
  fields: null,
  timings: null,
})

/**
 * Makes a client of HTTP/1.1 that only sends POSTs. The client follows no redirects, uses no proxy and no cookies, and accepts every response whose
 * status line can be read. Throws when `headers` has a header that no request may have.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { policy, resolve, connectTimeoutMs, requestTimeoutMs, maxIdle = 1_024, ca } = options
  const connections = createConnections(createConnector({ policy, resolve, timeoutMs: connectTimeoutMs, ca }), { maxIdle })
  const fault = headerFault(options.headers, new Set())
  if (fault !== null) throw new Error(fault)
  const commonNames = new Set(Object.keys(options.headers).map((name) => name.toLowerCase()))
  const targetOf = createTargetCache(options.headers)
  let inFlight = 0
  let onLastEnd: (() => void) | undefined
  return {
    async post(url, headers, body) {
      const target = targetOf(url)
      if (target === null) return failedAtOnce({ reason: 'invalid_url', detail: 'The callback URL is not an http: or https: URL.' })
      const detail = headerFault(headers, commonNames)
      if (detail !== null) return failedAtOnce({ reason: 'network_error', detail })
      const request = requestOf(target, headers, body)
      inFlight++
      try {
        return await new Exchange(connections, target.endpoint, request, requestTimeoutMs).run()
      } finally {
        inFlight--
        if (inFlight === 0) onLastEnd?.()
      }
    },
    async close() {
      if (inFlight > 0)
        await new Promise<void>((resolve) => {
          onLastEnd = resolve
        })
      connections.close()
    },
  }
}
