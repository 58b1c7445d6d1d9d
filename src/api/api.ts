import { createServer, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import helmet from 'helmet'
import { monotonicFactory } from 'ulid'
import { codeOf } from '../lib/errors.ts'
import { pause } from '../lib/retry.ts'
import { credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import { docs } from './docs.ts'
import { ApiError, type ErrorCode, errorEnvelope, notFound, problemOf, statuses } from './errors.ts'
import { failedCredentials } from './failed-credentials.ts'
import { pipeline, requestIdOf, send } from './pipeline.ts'
import { rateLimits } from './rate-limits.ts'
import type { Route } from './route.ts'
import { routeTable } from './route-table.ts'
import { tokens } from './tokens.ts'

export interface Api {
  readonly routes: readonly Route[]
  /** Resolves with the port that is listened on (0 asks for a free one); rejects when there is none to have. */
  listen(port: number, host: string): Promise<number>
  /** Takes no more connections, finishes the requests under way, and after the limit cuts what is left. */
  close(limitMs: number): Promise<void>
}

const defaults = { slowRequestMs: 30_000, failedCredentialsPerMinute: 100 } as const
/** Longer than the usual idle times of clients and load balancers, so that they close first and lose no request to it. */
const keepAliveMs = 65_000

export function createApi(deps: ApiDependencies): Api {
  const { settings, now } = deps
  const issued = tokens({ secret: settings.jwtSecret, ttlSeconds: settings.tokenTtlSeconds, now })
  const failed = failedCredentials(settings.failedCredentialsPerMinute ?? defaults.failedCredentialsPerMinute)
  const known = credentials(deps, issued, failed)
  const ulid = monotonicFactory()
  const routes = routeTable({ ...deps, newUlid: () => ulid(now()) }, { credentials: known, tokens: issued, failed })
  const server = serverFor(
    application(
      deps,
      routes,
      pipeline({ ...deps, credentials: known, rateLimits: rateLimits({ ...settings, processes: deps.processes }) }),
    ),
    settings.slowRequestMs ?? defaults.slowRequestMs,
  )
  return {
    routes,
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, () => {
          server.off('error', reject)
          const address = server.address()
          resolve(address !== null && typeof address === 'object' ? address.port : port)
        })
      }),
    close: (limitMs) => drain(server, limitMs),
  }
}

/** Express's own reading of "trust proxy": a number of hops, or names and subnets. */
const trustOf = (text: string): number | boolean | string =>
  /^\d+$/.test(text) ? Number(text) : text === 'true' || text === 'false' ? text === 'true' : text

function application(deps: ApiDependencies, routes: readonly Route[], serve: (route: Route) => RequestHandler) {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag') // ours are revisions
  app.disable('query parser')
  app.enable('case sensitive routing')
  if (deps.settings.trustProxy !== undefined) app.set('trust proxy', trustOf(deps.settings.trustProxy))

  const mount = (route: Route) => {
    const handler = serve(route)
    if (route.method === 'GET') app.get(route.path, handler)
    else if (route.method === 'POST') app.post(route.path, handler)
    else if (route.method === 'PATCH') app.patch(route.path, handler)
    else app.delete(route.path, handler)
  }
  // The hot path first: nothing that it does not need stands in front of it (design: the front door, measured).
  const isHot = (route: Route) => route.operationId === 'postEvent' || route.operationId === 'postEvents'
  routes.filter(isHot).forEach(mount)
  app.use(helmet())
  routes.filter((route) => !isHot(route)).forEach(mount)

  app.use('/docs', docs())

  const methods = new Map<string, string[]>()
  for (const { path, method } of routes)
    methods.set(path, [...(methods.get(path) ?? []), ...(method === 'GET' ? ['GET', 'HEAD'] : [method])])
  const refuse =
    (problem: ApiError, errorBody: (typeof routes)[number]['errorBody'] = errorEnvelope): RequestHandler =>
    (req, res) => {
      const { status, headers, ...rest } = problemOf(problem)
      send(res, { status, headers, body: errorBody({ status, headers, ...rest }) }, requestIdOf(req.headers))
    }
  for (const [path, allowed] of methods) {
    const allow = allowed.join(', ')
    const problem = new ApiError('method_not_allowed', `This path knows ${allow} only.`, { headers: { allow } })
    app.all(path, refuse(problem, routes.find((route) => route.path === path)?.errorBody))
  }
  app.use(refuse(notFound()))
  // What Express itself refuses: a path whose escapes mean nothing. The pipeline answers all else.
  const onError: ErrorRequestHandler = (error, req, res, _next) => {
    const malformed = error instanceof URIError
    const problem = problemOf(malformed ? new ApiError('invalid_request', 'The path holds a broken % escape.') : error)
    const requestId = requestIdOf(req.headers)
    if (!malformed) deps.log.error({ error, request_id: requestId }, 'http.failed')
    send(res, { status: problem.status, headers: problem.headers, body: errorEnvelope(problem) }, requestId)
  }
  app.use(onError)
  return app
}

function serverFor(app: express.Express, slowRequestMs: number): Server {
  /** The last answer of each connection, to tell whether a broken request still can be answered. */
  const answers = new WeakMap<Duplex, ServerResponse>()
  const server = createServer(
    {
      requestTimeout: slowRequestMs,
      headersTimeout: slowRequestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: Math.min(1_000, slowRequestMs / 4),
    },
    (req, res) => {
      answers.set(req.socket, res)
      app(req, res)
    },
  )
  server.on('clientError', (error, socket) => {
    const last = answers.get(socket)
    const isAnswered = last === undefined || last.writableFinished
    if (last !== undefined && !isAnswered && last.req.complete) {
      // The next request is the broken one: the answer that is under way goes first, and is the last.
      last.once('finish', () => socket.end())
      return
    }
    // A refused request whose body still came, and too slowly, has had its answer.
    const wasRefused = last?.headersSent === true && !last.req.complete
    if (!socket.writable || wasRefused || codeOf(error) === 'ECONNRESET') socket.destroy()
    else socket.end(rawAnswer(brokenRequest(error)))
  })
  return server
}

/** What is wrong with a request that Node could not read, or that took too long to come. */
function brokenRequest(error: Error): ApiError {
  switch (codeOf(error)) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError('request_timeout', 'The request took too long to arrive.')
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError('headers_too_large', 'The headers are larger than what is taken here.')
    default:
      return new ApiError('invalid_request', 'This is not a request of HTTP/1.1.')
  }
}
function rawAnswer(error: ApiError): string {
  const code: ErrorCode = error.code
  const body = JSON.stringify(errorEnvelope(problemOf(error)))
  const head = [
    `HTTP/1.1 ${statuses[code]} ${STATUS_CODES[statuses[code]]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestIdOf({})}`,
    'connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}

async function drain(server: Server, limitMs: number): Promise<void> {
  if (!server.listening) return
  const over = new AbortController()
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      over.abort()
      resolve()
    })
  })
  const end = performance.now() + limitMs
  // Connections become idle one by one, as their requests are answered.
  while (!over.signal.aborted && performance.now() < end) {
    server.closeIdleConnections()
    await pause(Math.min(50, Math.max(0, end - performance.now())), over.signal)
  }
  server.closeAllConnections()
  await closed
}
