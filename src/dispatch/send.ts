import { isIP, type LookupFunction, type Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import { buildConnector, type Dispatcher, errors, Pool } from 'undici'
import type { AddressPolicy } from '../lib/addresses.ts'
import { codeOf } from '../lib/errors.ts'
import { createNameResolver, type Resolve } from '../lib/resolve.ts'

/** What the receiver sent back to one request, or why nothing came. A failure is data, not an exception. */
export interface ReceiverResponse {
  /** The status, or null when no complete head came. The head alone decides, because the body may be cut, by us or on the way. */
  readonly code: number | null
  readonly duration_ms: number
  /** A stable word when there is no status, else null. It never shows an address. */
  readonly reason: SendFailure | null
  /** The first 4 KiB of the body. */
  readonly body: Buffer
  readonly retryAfter: string | undefined
}
export type SendFailure =
  | 'address_refused'
  | 'connect_timeout'
  | 'connection_refused'
  | 'connection_reset'
  | 'dns_failed'
  | 'invalid_response'
  | 'invalid_url'
  | 'network_error'
  | 'timeout'
  | 'tls_failed'

export interface Sender {
  /** POSTs the body; never throws. */
  post(url: string, headers: Record<string, string>, body: Buffer): Promise<ReceiverResponse>
  close(): Promise<void>
}

/** Read of an answer before it is cut, and kept of it. */
const readBytes = 64 * 1024
const keptBytes = 4 * 1024
const rememberedUrls = 10_000

class AddressRefused extends Error {
  readonly code = 'address_refused'
}

/**
 * Sends requests to receivers: pools of kept-alive connections per origin, whose connector is the guard against
 * requests to addresses that are not public (a check before connecting alone could be tricked by a name that changes).
 */
export function createSender(options: {
  policy: AddressPolicy
  connectTimeoutMs: number
  requestTimeoutMs: number
  /** To one origin. */
  maxConnections: number
  userAgent: string
  /** Origins whose connections are kept; the longest unused are closed. */
  maxOrigins?: number
  /** Default: DNS. */
  resolve?: Resolve
}): Sender {
  const { policy, connectTimeoutMs, requestTimeoutMs, maxConnections, userAgent, maxOrigins = 2_000 } = options
  const connect = guardedConnector(policy, connectTimeoutMs, options.resolve ?? createNameResolver())
  const pools = new LRUCache<string, Pool>({
    max: maxOrigins,
    dispose: (pool) => void pool.close(), // requests in flight finish
  })
  const poolOf = (origin: string): Pool => {
    const known = pools.get(origin)
    if (known !== undefined) return known
    const pool = new Pool(origin, {
      connect,
      connections: maxConnections,
      pipelining: 1,
      keepAliveTimeout: 4_000,
      // The whole answer is bounded by one timer of ours; these would be two more.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: 32 * 1024,
    })
    pools.set(origin, pool)
    return pool
  }
  /** What of a URL goes where; null where it is none. Parsed once and not for each request. */
  const targets = new LRUCache<string, { readonly origin: string; readonly path: string }>({ max: rememberedUrls })
  const targetOf = (url: string) => {
    const known = targets.get(url)
    if (known !== undefined) return known
    if (!URL.canParse(url)) return null
    const { origin, pathname, search } = new URL(url)
    const target = { origin, path: pathname + search }
    targets.set(url, target)
    return target
  }
  return {
    post(url, headers, body) {
      const started = performance.now()
      return new Promise((resolve) => {
        const target = targetOf(url)
        if (target === null) {
          resolve({ code: null, duration_ms: 0, reason: 'invalid_url', body: Buffer.alloc(0), retryAfter: undefined })
          return
        }
        let code: number | null = null
        let retryAfter: string | undefined
        let read = 0
        let kept = 0
        const chunks: Buffer[] = []
        let controller: Dispatcher.DispatchController | undefined
        let over = false
        const finish = (reason: SendFailure | null) => {
          if (over) return
          over = true
          clearTimeout(timer)
          const duration_ms = Math.round(performance.now() - started)
          resolve({ code, duration_ms, reason: code === null ? reason : null, body: Buffer.concat(chunks), retryAfter })
        }
        const cut = (reason: SendFailure | null) => {
          finish(reason)
          controller?.abort(new Error('the answer was cut'))
        }
        const timer = setTimeout(() => cut('timeout'), requestTimeoutMs)
        poolOf(target.origin).dispatch(
          {
            path: target.path,
            method: 'POST',
            headers: { 'user-agent': userAgent, 'content-type': 'application/json', ...headers },
            body,
          },
          {
            onRequestStart(started) {
              controller = started
              if (over) started.abort(new Error('the answer came too late'))
            },
            onResponseStart(_controller, statusCode, answerHeaders) {
              if (statusCode < 200) return
              code = statusCode
              const value = answerHeaders['retry-after']
              retryAfter = Array.isArray(value) ? value[0] : value
            },
            onResponseData(_controller, chunk) {
              if (kept < keptBytes) {
                // A copy: the parser uses its memory again.
                const part = Buffer.from(chunk.subarray(0, keptBytes - kept))
                chunks.push(part)
                kept += part.length
              }
              read += chunk.length
              if (read > readBytes) cut(null)
            },
            onResponseEnd() {
              finish('invalid_response')
            },
            onResponseError(_controller, error) {
              finish(failureOf(error))
            },
          },
        )
      })
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.close()))
    },
  }
}

/** A connector that refuses addresses by the policy: literal ones, every resolved one, and once more the socket's own. */
function guardedConnector(policy: AddressPolicy, timeout: number, resolve: Resolve): buildConnector.connector {
  const allowed = (address: string, plain: boolean) => policy.allows(address) && (!plain || policy.allowsPlainHttp(address))
  const guardedLookup =
    (plain: boolean): LookupFunction =>
    (hostname, lookupOptions, callback) => {
      resolve(hostname).then(
        (addresses) => {
          if (addresses.some(({ address }) => !allowed(address, plain))) callback(new AddressRefused('the address is not public'), [])
          else if (lookupOptions.all) callback(null, [...addresses])
          else callback(null, addresses[0]?.address ?? '', addresses[0]?.family ?? 4)
        },
        (error: Error) => callback(error, []),
      )
    }
  const plainConnector = buildConnector({ timeout, lookup: guardedLookup(true), autoSelectFamily: true })
  const tlsConnector = buildConnector({ timeout, lookup: guardedLookup(false), autoSelectFamily: true })
  return (request, callback) => {
    const plain = request.protocol === 'http:'
    const literal = request.hostname.replace(/^\[|\]$/g, '')
    if (isIP(literal) !== 0 && !allowed(literal, plain)) {
      callback(new AddressRefused('the address is not public'), null)
      return
    }
    const connector = plain ? plainConnector : tlsConnector
    connector(request, (...result) => {
      const [error, socket] = result
      if (error === null && !allowed((socket as Socket).remoteAddress ?? '', plain)) {
        socket.destroy()
        callback(new AddressRefused('the address is not public'), null)
      } else callback(...result)
    })
  }
}

const failures: Readonly<Record<string, SendFailure>> = {
  address_refused: 'address_refused',
  UND_ERR_CONNECT_TIMEOUT: 'connect_timeout',
  ETIMEDOUT: 'connect_timeout',
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  EPIPE: 'connection_reset',
  UND_ERR_SOCKET: 'connection_reset',
  ENOTFOUND: 'dns_failed',
  EAI_AGAIN: 'dns_failed',
  EAI_FAIL: 'dns_failed',
  UND_ERR_HEADERS_OVERFLOW: 'invalid_response',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'invalid_response',
}
/** What OpenSSL and Node say of certificates: `CERT_...`, `ERR_TLS_...`, `ERR_SSL_...`, `DEPTH_ZERO_SELF_SIGNED_CERT`, `UNABLE_TO_...`. */
const tls = /CERT|^ERR_TLS|^ERR_SSL|^UNABLE_TO|^EPROTO$/

function failureOf(error: unknown): SendFailure {
  // With several addresses Node tells of each attempt; the first says enough.
  const cause = error instanceof AggregateError ? error.errors[0] : error
  if (cause instanceof errors.HTTPParserError) return 'invalid_response'
  const code = codeOf(cause) ?? ''
  return failures[code] ?? (tls.test(code) ? 'tls_failed' : 'network_error')
}
