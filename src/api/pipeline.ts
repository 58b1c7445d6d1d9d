import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline as writeAll } from 'node:stream/promises'
import { Counter, Histogram } from 'prom-client'
import { codeOf } from '../lib/errors.ts'
import type { Credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import { ApiError, errorEnvelope, lacksScope, problemOf } from './errors.ts'
import type { RateHeaders, RateLimits } from './rate-limits.ts'
import { CallerGone, mediaType, readBody } from './request-body.ts'
import type { Identity, Route, RouteResult } from './route.ts'

const json = ['application/json']
const defaultBodyLimit = 64 * 1024
const noBody = Buffer.alloc(0)
const emptyObject = Buffer.from('{}')
const noSearch = new URLSearchParams()
const errorHeaders = { 'cache-control': 'no-store' }
/** Of a caller who hung up, as nginx writes it: nothing was answered. */
const hungUp = 499

const saneId = /^[A-Za-z0-9_.:-]{1,128}$/
/** The caller's own id when it is fit for a log and a header, else a new one. */
export function requestIdOf({ 'x-request-id': given }: IncomingHttpHeaders): string {
  return typeof given === 'string' && saneId.test(given) ? given : randomUUID()
}

/** RFC 9112, 6.3: a request without either header has no body. */
const isBodiless = ({ 'content-length': length, 'transfer-encoding': encoding }: IncomingHttpHeaders): boolean =>
  encoding === undefined && (length === undefined || length === '0')

export function send(res: ServerResponse, { status, headers, body, text }: RouteResult, requestId: string): void {
  if (res.headersSent || res.destroyed) return
  const content = text?.content ?? (body === undefined ? undefined : JSON.stringify(body))
  if (content === undefined) {
    res.writeHead(status, { ...headers, 'x-request-id': requestId }).end()
    return
  }
  res.writeHead(status, {
    ...headers,
    'x-request-id': requestId,
    'content-type': text?.type ?? 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(content),
    'x-content-type-options': 'nosniff',
  })
  res.end(content)
}

/** A body that comes bit by bit. What fails on the way cuts the connection: the caller sees that it is not whole. */
async function sendStream(
  res: ServerResponse,
  { status, headers }: RouteResult,
  stream: NonNullable<RouteResult['stream']>,
  requestId: string,
) {
  if (res.headersSent || res.destroyed) return
  res.writeHead(status, { ...headers, 'x-request-id': requestId, 'content-type': stream.type, 'x-content-type-options': 'nosniff' })
  if (res.req.method === 'HEAD') res.end()
  else await writeAll(Readable.from(stream.chunks), res)
}

/** The same chunks, of which the first is there: what fails before it is an answer of its own, and not an empty one. */
async function begun(chunks: AsyncIterable<string>): Promise<AsyncIterable<string>> {
  const iterator = chunks[Symbol.asyncIterator]()
  const first = await iterator.next()
  return (async function* () {
    try {
      for (let next = first; !next.done; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  })()
}

/** Answers a request, whatever comes of it. @param params of its path */
export type Serve = (req: IncomingMessage, res: ServerResponse, params: Readonly<Record<string, string>>) => Promise<void>

/** What every request goes through, whatever its route: credential, rate limit, scope, body, handler, answer, log and metrics. */
export function pipeline(
  deps: Pick<ApiDependencies, 'log' | 'metrics'> & {
    credentials: Credentials
    rateLimits: RateLimits
    /** Of the caller, as the proxies that are trusted tell it. */
    addressOf(req: IncomingMessage): string
  },
) {
  const { log, metrics, credentials, rateLimits } = deps
  const requests = new Counter({
    name: 'kolbak_http_requests_total',
    help: 'Requests by operation and status.',
    labelNames: ['operation', 'status'],
    registers: [metrics],
  })
  const durations = new Histogram({
    name: 'kolbak_http_request_seconds',
    help: 'Time to the answer, by operation.',
    labelNames: ['operation'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [metrics],
  })

  const addressOf = (req: IncomingMessage) => () => deps.addressOf(req)
  const identify = async ({ credentials: accepted }: Route, req: IncomingMessage): Promise<Identity | null> => {
    if (accepted === 'none' || accepted === 'client') return null
    if (accepted === 'operator') {
      if (req.headers.authorization === undefined)
        throw new ApiError('unauthorized', 'This needs a bearer token with scope admin, or KOLBAK_METRICS_TOKEN.', {
          headers: { 'www-authenticate': 'Bearer realm="kolbak"' },
        })
      if (!(await credentials.isOperator(req.headers, addressOf(req)))) throw lacksScope('admin')
      return null
    }
    return credentials.identify(req.headers, accepted, addressOf(req))
  }
  const goneSignal = (res: ServerResponse) => () => {
    const gone = new AbortController()
    if (res.destroyed) gone.abort()
    else res.once('close', () => gone.abort())
    return gone.signal
  }

  return (route: Route): Serve => {
    const {
      operationId: operation,
      bodyTypes = json,
      bodyLimit = defaultBodyLimit,
      bodyOptional = false,
      quiet = false,
      quota = 'requests',
    } = route
    const duration = durations.labels({ operation })
    const counted = new Map<number, { inc(): void }>()
    const count = (status: number) => {
      const known = counted.get(status) ?? requests.labels({ operation, status })
      counted.set(status, known)
      known.inc()
    }

    return async (req, res, params) => {
      const started = performance.now()
      const requestId = requestIdOf(req.headers)
      let identity: Identity | null = null
      let answer: RouteResult
      let code: string | undefined
      let limits: RateHeaders | undefined
      try {
        identity = await identify(route, req)
        if (identity !== null) {
          limits = await rateLimits.take(identity, quota)
          if (route.scope !== null && !identity.caller.scopes.has(route.scope)) throw lacksScope(route.scope)
        }
        const hasBody = route.body !== undefined && !(bodyOptional && isBodiless(req.headers))
        const contentType = hasBody ? mediaType(req.headers, bodyTypes) : ''
        const rawBody = hasBody ? await readBody(req, bodyLimit) : bodyOptional ? emptyObject : noBody
        const { url = '/' } = req
        const query = url.indexOf('?')
        answer = await route.run({
          params,
          search: query === -1 ? noSearch : new URLSearchParams(url.slice(query)),
          rawBody,
          contentType,
          identity,
          address: addressOf(req),
          requestId,
          headers: req.headers,
          gone: goneSignal(res),
          plan: async (make) => make(),
          async counts(more) {
            if (identity !== null && more > 0) limits = await rateLimits.takeMore(identity, quota, more)
          },
        })
        if (answer.stream !== undefined) answer = { ...answer, stream: { ...answer.stream, chunks: await begun(answer.stream.chunks) } }
      } catch (error) {
        if (error instanceof CallerGone) {
          count(hungUp)
          log.debug({ request_id: requestId, operation, status: hungUp }, 'http.request')
          return
        }
        const problem = problemOf(error)
        code = problem.code
        if (problem.status >= 500)
          log[problem.status === 500 ? 'error' : 'warn']({ error, request_id: requestId, operation }, 'http.failed')
        answer = {
          status: problem.status,
          headers: { ...errorHeaders, ...problem.headers },
          body: route.errorBody === undefined ? errorEnvelope(problem) : route.errorBody(problem),
        }
      }
      if (limits !== undefined) answer = { ...answer, headers: { ...limits, ...answer.headers } }
      if (answer.stream === undefined) send(res, answer, requestId)
      else
        await sendStream(res, answer, answer.stream, requestId).catch((error: unknown) => {
          // A caller who hung up is no failure of ours.
          if (codeOf(error) !== 'ERR_STREAM_PREMATURE_CLOSE') log.error({ error, request_id: requestId, operation }, 'http.stream_failed')
        })
      const { status } = answer
      const ms = performance.now() - started
      count(status)
      duration.observe(ms / 1_000)
      log[quiet && status < 400 ? 'debug' : 'info'](
        {
          request_id: requestId,
          operation,
          status,
          ms: Math.round(ms * 10) / 10,
          ...(code === undefined ? {} : { code }),
          ...(identity === null ? {} : { tenant: identity.caller.tenant, actor: identity.caller.actor }),
        },
        'http.request',
      )
    }
  }
}
