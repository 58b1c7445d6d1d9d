import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Counter, Histogram, type Registry } from 'prom-client'
import type { RequestFacts } from '../events/envelope.ts'
import { defaultTenant } from '../events/ids.ts'
import { codeOf } from '../lib/errors.ts'
import { isObject } from '../lib/is-object.ts'
import { inRequestedTenant, isAuditRead, requireScope } from './authorization.ts'
import type { Credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import { ApiError, type ErrorCode, errorEnvelope, invalid, lacksScope, problemOf } from './errors.ts'
import { type RequestIds, requestIdsOf, send, sendStream, withFirstChunk } from './http-response.ts'
import type { Identity } from './identity.ts'
import type { RateHeaders, RateLimits } from './rate-limits.ts'
import { CallerGone, defaultBodyLimit, readBody, requireMediaType } from './request-body.ts'
import type { Route, RouteResult } from './route.ts'
import { noStore } from './route-results.ts'

const json = ['application/json']
const noBody = Buffer.alloc(0)
const emptyObject = Buffer.from('{}')
const noSearch = new URLSearchParams()
/** The status in metrics and logs if the caller hung up before the response. nginx uses the same number. */
const callerGoneStatus = 499
/** The most characters of `User-Agent` that an event keeps. */
const maxAgentLength = 500
/** The most characters of the URL of a read that an event keeps. */
const maxUrlLength = 1_000

/** Serves one request, and turns an error of the route into a response. @param params the parameters of the path */
export type Serve = (req: IncomingMessage, res: ServerResponse, params: Readonly<Record<string, string>>) => Promise<void>

interface PipelineDependencies extends Pick<ApiDependencies, 'log' | 'metrics' | 'pool' | 'access'> {
  readonly credentials: Credentials
  readonly rateLimits: RateLimits
  /** Returns the caller's address, as the trusted proxies report it. */
  addressOf(req: IncomingMessage): string
}

/** One request on its way through the pipeline. */
interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly params: Readonly<Record<string, string>>
  readonly ids: RequestIds
  /** Monotonic milliseconds. */
  readonly startedAt: number
  identity: Identity | null
  rateHeaders: RateHeaders | undefined
  errorCode: ErrorCode | undefined
}

/** Every request of every route passes through these steps: credential, rate limit, scope, body, handler, response, metrics, log. */
export function createPipeline(deps: PipelineDependencies): (route: Route) => Serve {
  const metersOf = createRequestMeters(deps.metrics)
  return (route) => {
    const meter = metersOf(route.operationId)
    return async (req, res, params) => {
      const exchange: Exchange = {
        req,
        res,
        params,
        ids: requestIdsOf(req.headers),
        startedAt: performance.now(),
        identity: null,
        rateHeaders: undefined,
        errorCode: undefined,
      }
      let result: RouteResult
      try {
        result = await carryOut(deps, route, exchange)
      } catch (error) {
        if (error instanceof CallerGone) {
          meter.count(callerGoneStatus)
          deps.log.debug({ request_id: exchange.ids.correlation, operation: route.operationId, status: callerGoneStatus }, 'http.request')
          return
        }
        result = failed(deps, route, exchange, error)
      }
      // A live stream is noted when it begins, because it may run for days. The end of any other stream says how much was read.
      const isNotedLater = result.stream !== undefined && result.stream.isLive !== true
      if (!isNotedLater) noteAccess(deps, route, exchange, result)
      await respond(deps, route, exchange, result)
      if (isNotedLater) noteAccess(deps, route, exchange, result)
      const ms = performance.now() - exchange.startedAt
      meter.count(result.status)
      if (result.stream?.isLive !== true) meter.time(ms)
      report(deps, route, exchange, result.status, ms)
    }
  }
}

function createRequestMeters(metrics: Registry) {
  const requests = new Counter({
    name: 'kolbak_http_requests_total',
    help: 'Requests by operation and status.',
    labelNames: ['operation', 'status'],
    registers: [metrics],
  })
  const durations = new Histogram({
    name: 'kolbak_http_request_seconds',
    help: 'Time until the response is sent, by operation.',
    labelNames: ['operation'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [metrics],
  })
  return (operation: string) => {
    const duration = durations.labels({ operation })
    const counters = new Map<number, { inc(): void }>()
    return {
      count(status: number) {
        const counter = counters.get(status) ?? requests.labels({ operation, status })
        counters.set(status, counter)
        counter.inc()
      },
      time: (ms: number) => duration.observe(ms / 1_000),
    }
  }
}

/** Identifies the caller, counts the request against the rate limit, checks the scope, reads the body, and runs the handler. */
async function carryOut(deps: PipelineDependencies, route: Route, exchange: Exchange): Promise<RouteResult> {
  const { rateLimits } = deps
  const { req, res } = exchange
  const { bodyTypes = json, bodyLimit = defaultBodyLimit, bodyOptional = false, quota = 'requests' } = route
  const search = searchOf(req)
  const identify = async () => {
    exchange.identity = await identifyCaller(deps, route, req)
    exchange.identity = await inRequestedTenant(deps, route, req.headers, exchange.identity)
    return exchange.identity
  }
  const identity = await identify()
  if (identity !== null) {
    exchange.rateHeaders = await rateLimits.take(identity, quota)
    requireScope(route, identity, search)
  }
  const reason = reasonOf(req.headers)
  const hasBody = route.body !== undefined && !(bodyOptional && isBodiless(req.headers))
  const contentType = hasBody ? requireMediaType(req.headers, bodyTypes) : ''
  const rawBody = hasBody ? await readBody(req, bodyLimit) : bodyOptional ? emptyObject : noBody
  const result = await route.run({
    params: exchange.params,
    search,
    rawBody,
    contentType,
    identity,
    address: () => deps.addressOf(req),
    requestId: exchange.ids.correlation,
    kolbakRequestId: exchange.ids.kolbakId,
    headers: req.headers,
    facts: () => factsOf(deps, route, exchange, reason),
    gone: () => goneSignal(res),
    stillAllowed: async () => requireScope(route, await identify(), search),
    plan: async (choose) => choose(),
    async countMore(count) {
      if (identity !== null && count > 0) exchange.rateHeaders = await rateLimits.takeMore(identity, quota, count)
    },
  })
  return result.stream === undefined ? result : { ...result, stream: await withFirstChunk(result.stream) }
}

function searchOf({ url = '/' }: IncomingMessage): URLSearchParams {
  const queryStart = url.indexOf('?')
  return queryStart === -1 ? noSearch : new URLSearchParams(url.slice(queryStart))
}

/** Notes a read of the audit log or of a past state, and a request that was refused. */
function noteAccess(deps: PipelineDependencies, route: Route, exchange: Exchange, result: RouteResult): void {
  const { access } = deps
  const { status } = result
  const { req, identity, ids, errorCode } = exchange
  const isRefused = errorCode !== undefined && (status === 401 || status === 403 || status === 412)
  if (access === undefined || (!isRefused && (status >= 400 || !isAuditRead(route, identity, searchOf(req))))) return
  access.note({
    tenant: identity?.caller.tenant ?? defaultTenant,
    actor: identity?.caller.actor ?? 'system:unknown-caller',
    correlation_id: ids.correlation,
    facts: factsOf(deps, route, exchange, null),
    what: isRefused
      ? { type: 'AccessDenied', status, code: errorCode }
      : { type: 'AuditRead', url: (req.url ?? '').slice(0, maxUrlLength), ...linesOf(result) },
  })
}

/** Returns the number of events or resources in a response, unless the response is a live stream. */
function linesOf({ stream, body }: RouteResult): { lines?: number } {
  if (stream !== undefined) return stream.lines === undefined ? {} : { lines: stream.lines() }
  const data: unknown = isObject(body) && 'data' in body ? body.data : null
  return { lines: Array.isArray(data) ? data.length : 1 }
}

/** Returns null for a route without a caller. Throws when the credential is missing, wrong, or not sufficient. */
async function identifyCaller(
  deps: PipelineDependencies,
  { credentials: accepted }: Route,
  req: IncomingMessage,
): Promise<Identity | null> {
  const address = () => deps.addressOf(req)
  if (accepted === 'none' || accepted === 'client') return null
  if (accepted !== 'operator') return deps.credentials.identify(req.headers, accepted, address)
  if (req.headers.authorization === undefined)
    throw new ApiError('unauthorized', 'This request needs a bearer token with the scope admin, or KOLBAK_METRICS_TOKEN as the token.', {
      headers: { 'www-authenticate': 'Bearer realm="kolbak"' },
    })
  if (!(await deps.credentials.isOperator(req.headers, address))) throw lacksScope('admin')
  return null
}

/** The characters of `Kolbak-Reason`: 1 to 255 visible ASCII characters and spaces. */
const reasonPattern = /^[ -~]{1,255}$/
/** Returns the caller's reason for a change, or null. Throws validation_failed. */
function reasonOf({ 'kolbak-reason': given }: IncomingHttpHeaders): string | null {
  if (given === undefined) return null
  if (typeof given !== 'string' || !reasonPattern.test(given))
    throw invalid([{ path: 'Kolbak-Reason', message: 'must be 1-255 visible ASCII characters or spaces' }])
  return given
}

/** Returns the facts about the request that its events keep. */
const factsOf = (deps: PipelineDependencies, route: Route, { req, ids, identity }: Exchange, reason: string | null): RequestFacts => ({
  request_id: ids.kolbakId,
  operation: route.operationId,
  ...(identity === null ? {} : { auth: identity.auth }),
  origin: { address: deps.addressOf(req), agent: req.headers['user-agent']?.slice(0, maxAgentLength) ?? null },
  ...(reason === null ? {} : { reason }),
})

/** RFC 9112, 6.3: a request without either header has no body. */
const isBodiless = ({ 'content-length': length, 'transfer-encoding': encoding }: IncomingHttpHeaders): boolean =>
  encoding === undefined && (length === undefined || length === '0')

/** Returns a signal that aborts when the caller hangs up. */
function goneSignal(res: ServerResponse): AbortSignal {
  const hangUp = new AbortController()
  if (res.destroyed) hangUp.abort()
  else res.once('close', () => hangUp.abort())
  return hangUp.signal
}

/**
 * Turns an error into a result in the route's form of errors. Logs an error that is not the caller's fault, except for causes that make the process
 * not ready, because these have their own log lines.
 */
function failed({ log }: PipelineDependencies, route: Route, exchange: Exchange, error: unknown): RouteResult {
  const problem = problemOf(error)
  exchange.errorCode = problem.code
  if (problem.status >= 500 && problem.code !== 'not_ready')
    log[problem.status === 500 ? 'error' : 'warn'](
      { error, request_id: exchange.ids.correlation, operation: route.operationId },
      'http.failed',
    )
  const { errorBody = errorEnvelope } = route
  return { status: problem.status, headers: { ...noStore, ...problem.headers }, body: errorBody(problem) }
}

async function respond({ log }: PipelineDependencies, route: Route, exchange: Exchange, result: RouteResult): Promise<void> {
  const { res, ids, rateHeaders } = exchange
  const complete = rateHeaders === undefined ? result : { ...result, headers: { ...rateHeaders, ...result.headers } }
  if (complete.stream === undefined) {
    send(res, complete, ids)
    return
  }
  try {
    await sendStream(res, complete, complete.stream, ids)
  } catch (error) {
    // The code means that the caller hung up, which is not a failure of the service.
    if (codeOf(error) === 'ERR_STREAM_PREMATURE_CLOSE') return
    log.error({ error, request_id: ids.correlation, operation: route.operationId }, 'http.stream_failed')
  }
}

function report({ log }: PipelineDependencies, route: Route, exchange: Exchange, status: number, ms: number): void {
  const { ids, errorCode, identity } = exchange
  log[route.quiet === true && status < 400 ? 'debug' : 'info'](
    {
      request_id: ids.correlation,
      ...(ids.kolbakId === ids.correlation ? {} : { kolbak_request_id: ids.kolbakId }),
      operation: route.operationId,
      status,
      ms: Math.round(ms * 10) / 10,
      ...(errorCode === undefined ? {} : { code: errorCode }),
      ...(identity === null ? {} : { tenant: identity.caller.tenant, actor: identity.caller.actor }),
    },
    'http.request',
  )
}
