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
type SendFailure =
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

/** The part of a response body that is read before the response is cut, and the part that is kept. */
const readBytes = 64 * 1024
const keptBytes = 4 * 1024
const maxCachedUrls = 10_000

class AddressRefused extends Error {
  readonly code = 'address_refused'
}

/**
 * Sends requests to receivers, through one pool of kept-alive connections for each origin. The connector of the pools refuses
 * addresses that are not public. A check before connecting would not be enough, because a name may resolve to another address then.
 */
export function createSender(options: {
  policy: AddressPolicy
  connectTimeoutMs: number
  requestTimeoutMs: number
  /** Most connections to one origin. */
  maxConnections: number
  userAgent: string
  /** Most origins whose connections are kept. The longest unused ones are closed. */
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
    const existing = pools.get(origin)
    if (existing !== undefined) return existing
    const pool = new Pool(origin, {
      connect,
      connections: maxConnections,
      pipelining: 1,
      keepAliveTimeout: 4_000,
      // One timer of our own bounds the whole response, so that undici's two are not needed.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: 32 * 1024,
    })
    pools.set(origin, pool)
    return pool
  }
  const targetOf = createTargetCache()
  return {
    post(url, headers, body) {
      const target = targetOf(url)
      if (target === null)
        return Promise.resolve({ code: null, duration_ms: 0, reason: 'invalid_url', body: Buffer.alloc(0), retryAfter: undefined })
      return new Promise((resolve) => {
        poolOf(target.origin).dispatch(
          {
            path: target.path,
            method: 'POST',
            headers: { 'user-agent': userAgent, 'content-type': 'application/json', ...headers },
            body,
          },
          new Exchange(requestTimeoutMs, resolve),
        )
      })
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.close()))
    },
  }
}

interface Target {
  readonly origin: string
  readonly path: string
}
/** Returns a function that splits a URL, or returns null if it is invalid. Each URL is parsed once and not for each request. */
function createTargetCache(): (url: string) => Target | null {
  const targets = new LRUCache<string, Target>({ max: maxCachedUrls })
  return (url) => {
    const cached = targets.get(url)
    if (cached !== undefined) return cached
    if (!URL.canParse(url)) return null
    const { origin, pathname, search } = new URL(url)
    const target = { origin, path: pathname + search }
    targets.set(url, target)
    return target
  }
}

/** One request and its response. It is over when the response has ended or was cut, or when the time is up. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly startedAt = performance.now()
  private readonly timer: NodeJS.Timeout
  private readonly resolve: (response: ReceiverResponse) => void
  private controller: Dispatcher.DispatchController | undefined
  private isOver = false
  private code: number | null = null
  private retryAfter: string | undefined
  private bytesRead = 0
  private bytesKept = 0
  private readonly chunks: Buffer[] = []

  constructor(timeoutMs: number, resolve: (response: ReceiverResponse) => void) {
    this.resolve = resolve
    this.timer = setTimeout(() => this.cut('timeout'), timeoutMs)
  }
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.isOver) controller.abort(new Error('the time for the request was up before it started'))
  }
  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (statusCode < 200) return
    this.code = statusCode
    const value = headers['retry-after']
    this.retryAfter = Array.isArray(value) ? value[0] : value
  }
  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.bytesKept < keptBytes) {
      // A copy, because the parser uses its memory again.
      const part = Buffer.from(chunk.subarray(0, keptBytes - this.bytesKept))
      this.chunks.push(part)
      this.bytesKept += part.length
    }
    this.bytesRead += chunk.length
    if (this.bytesRead > readBytes) this.cut(null)
  }
  onResponseEnd(): void {
    this.finish('invalid_response')
  }
  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.finish(failureOf(error))
  }
  private cut(reason: SendFailure | null): void {
    this.finish(reason)
    this.controller?.abort(new Error('the response was cut'))
  }
  /** @param reason used only if no status has come */
  private finish(reason: SendFailure | null): void {
    if (this.isOver) return
    this.isOver = true
    clearTimeout(this.timer)
    const { code, retryAfter } = this
    const duration_ms = Math.round(performance.now() - this.startedAt)
    this.resolve({ code, duration_ms, reason: code === null ? reason : null, body: Buffer.concat(this.chunks), retryAfter })
  }
}

/** Returns a connector that refuses addresses by the policy. It checks literal addresses, every resolved address, and the address of the socket. */
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
/** Codes of OpenSSL and Node for faulty certificates: `CERT_...`, `ERR_TLS_...`, `ERR_SSL_...`, `DEPTH_ZERO_SELF_SIGNED_CERT`, `UNABLE_TO_...`. */
const tlsCodes = /CERT|^ERR_TLS|^ERR_SSL|^UNABLE_TO|^EPROTO$/

function failureOf(error: unknown): SendFailure {
  // With several addresses Node reports each attempt. The first one is enough.
  const cause = error instanceof AggregateError ? error.errors[0] : error
  if (cause instanceof errors.HTTPParserError) return 'invalid_response'
  const code = codeOf(cause) ?? ''
  return failures[code] ?? (tlsCodes.test(code) ? 'tls_failed' : 'network_error')
}
