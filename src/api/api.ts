import type { IncomingMessage, RequestListener } from 'node:http'
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express'
import helmet from 'helmet'
import { monotonicFactory } from 'ulid'
import { credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import { ApiError, errorEnvelope, notFound, problemOf } from './errors.ts'
import { createFailedCredentials } from './failed-credentials.ts'
import { createHttpServer, type HttpServer } from './http-server.ts'
import { pipeline, requestIdOf, type Serve, send } from './pipeline.ts'
import { createRateLimits } from './rate-limits.ts'
import type { Route } from './route.ts'
import { createRouteTable } from './route-table.ts'
import { operationTag } from './routes/operation.ts'
import { docs } from './swagger-ui.ts'
import { createTokens } from './tokens.ts'

export interface Api extends Pick<HttpServer, 'listen' | 'close'> {
  readonly routes: readonly Route[]
}

/**
 * Puts the API behind a door, which may be listening already.
 * @param operationOnly health and metrics alone, for a process that has no part in the API
 */
export function createApi(
  deps: ApiDependencies,
  { door = createHttpServer(deps.settings.slowRequestMs), operationOnly = false }: { door?: HttpServer; operationOnly?: boolean } = {},
): Api {
  const { settings, now } = deps
  const issued = createTokens({ secret: settings.jwtSecret, ttlSeconds: settings.tokenTtlSeconds, now })
  const failed = createFailedCredentials(settings.failedCredentialsPerMinute ?? failedCredentialsPerMinute)
  const known = credentials(deps, issued, failed)
  const ulid = monotonicFactory()
  const all = createRouteTable({ ...deps, newUlid: () => ulid(now()) }, { credentials: known, tokens: issued, failed })
  const routes = operationOnly ? all.filter((route) => route.tag === operationTag) : all
  const app = express()
  const serve = pipeline({
    ...deps,
    credentials: known,
    rateLimits: createRateLimits({ ...settings, processes: deps.processes }),
    addressOf: (req) => asOf(app, req).ip ?? '',
  })
  door.open(shortcut(deps, routes, serve, application(app, deps, routes, serve)))
  return { routes, listen: door.listen, close: door.close }
}

const failedCredentialsPerMinute = 100

/** Express's own reading of "trust proxy": a number of hops, or names and subnets. */
const trustOf = (text: string): number | boolean | string =>
  /^\d+$/.test(text) ? Number(text) : text === 'true' || text === 'false' ? text === 'true' : text

/** A request as the application sees it: Express gives its own this prototype, one that came by the short cut may be without it. */
function asOf(app: Express, req: IncomingMessage): Request {
  if (!('ip' in req)) Object.setPrototypeOf(req, app.request)
  return req as Request
}

/**
 * What producers post goes straight to its handler: finding the way through Express costs a tenth of what accepting an event
 * does (measured). The application has the same routes, for whoever writes their paths in another way.
 */
function shortcut(deps: ApiDependencies, routes: readonly Route[], serve: (route: Route) => Serve, app: Express): RequestListener {
  const hot = new Map(routes.filter(isHot).map((route) => [route.path, serve(route)]))
  return (req, res) => {
    const handler = req.method === 'POST' ? hot.get(req.url ?? '') : undefined
    if (handler === undefined) app(req, res)
    else
      handler(req, res, noParams).catch((error: unknown) => {
        deps.log.error({ error }, 'http.failed') // the pipeline answers what it knows to fail
        res.destroy()
      })
  }
}
const noParams = {}
const isHot = (route: Route) => route.operationId === 'postEvent' || route.operationId === 'postEvents'

function application(app: Express, deps: ApiDependencies, routes: readonly Route[], serve: (route: Route) => Serve): Express {
  app.disable('x-powered-by')
  app.disable('etag') // ours are revisions
  app.disable('query parser')
  app.enable('case sensitive routing')
  if (deps.settings.trustProxy !== undefined) app.set('trust proxy', trustOf(deps.settings.trustProxy))

  const mount = (route: Route) => {
    const answer = serve(route)
    const handler: RequestHandler = (req, res) => answer(req, res, req.params as Record<string, string>) // none of our paths has a wildcard
    if (route.method === 'GET') app.get(route.path, handler)
    else if (route.method === 'POST') app.post(route.path, handler)
    else if (route.method === 'PATCH') app.patch(route.path, handler)
    else app.delete(route.path, handler)
  }
  // Without the headers of pages, here as by the short cut.
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
