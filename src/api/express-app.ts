import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express'
import helmet from 'helmet'
import type { Log } from '../lib/log.ts'
import { ApiError, errorEnvelope, notFound, problemOf } from './errors.ts'
import { skipsExpress } from './express-bypass.ts'
import { requestIdsOf, send } from './http-response.ts'
import type { Serve } from './pipeline.ts'
import type { Route } from './route.ts'
import { createSwaggerUi } from './swagger-ui.ts'

/** @param trustProxy the setting "trust proxy" of Express, as text */
export function createExpressApp(trustProxy: string | undefined): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag') // The routes set ETags themselves, because these are revisions.
  app.disable('query parser')
  app.enable('case sensitive routing')
  if (trustProxy !== undefined) app.set('trust proxy', parseTrustProxy(trustProxy))
  return app
}

/** Express takes a number of hops, a boolean, or a list of names and subnets. */
const parseTrustProxy = (text: string): number | boolean | string =>
  /^\d+$/.test(text) ? Number(text) : text === 'true' || text === 'false' ? text === 'true' : text

/**
 * Adds the routes, the page `/docs`, the dashboard, and the error responses for all other requests.
 * @param ui serves the dashboard, if there is one
 */
export function mountRoutes(
  app: Express,
  routes: readonly Route[],
  serve: (route: Route) => Serve,
  { log, ui }: { log: Log; ui: RequestHandler | null },
): void {
  const mount = (route: Route) => {
    const serveRoute = serve(route)
    // No path of the route table has a wildcard, so each parameter is one text.
    const handler: RequestHandler = (req, res) => serveRoute(req, res, req.params as Record<string, string>)
    if (route.method === 'GET') app.get(route.path, handler)
    else if (route.method === 'POST') app.post(route.path, handler)
    else if (route.method === 'PATCH') app.patch(route.path, handler)
    else app.delete(route.path, handler)
  }
  // Helmet comes after these routes. So their responses have the same headers whether or not they skip Express.
  routes.filter(skipsExpress).forEach(mount)
  app.use(helmet())
  routes.filter((route) => !skipsExpress(route)).forEach(mount)
  app.use('/docs', createSwaggerUi())
  if (ui !== null) app.use('/ui', ui)
  refuseOtherMethods(app, routes)
  app.use(refuse(notFound()))
  app.use(createErrorHandler(log))
}

/** Responds with an error. @param errorBody the route's own form of errors, if it has one */
const refuse =
  (error: ApiError, errorBody: NonNullable<Route['errorBody']> = errorEnvelope): RequestHandler =>
  (req, res) => {
    const problem = problemOf(error)
    send(res, { status: problem.status, headers: problem.headers, body: errorBody(problem) }, requestIdsOf(req.headers))
  }

function refuseOtherMethods(app: Express, routes: readonly Route[]): void {
  const methodsOf = new Map<string, string[]>()
  for (const { path, method } of routes)
    methodsOf.set(path, [...(methodsOf.get(path) ?? []), ...(method === 'GET' ? ['GET', 'HEAD'] : [method])])
  for (const [path, methods] of methodsOf) {
    const allow = methods.join(', ')
    const error = new ApiError('method_not_allowed', `This path accepts only ${allow}.`, { headers: { allow } })
    app.all(path, refuse(error, routes.find((route) => route.path === path)?.errorBody))
  }
}

/**
 * Handles errors of Express itself. The only expected one is a path with a broken % escape, because the pipeline turns the errors of routes into
 * responses.
 */
function createErrorHandler(log: Log): ErrorRequestHandler {
  return (error, req, res, _next) => {
    const isBrokenPath = error instanceof URIError
    const problem = problemOf(isBrokenPath ? new ApiError('invalid_request', 'The path contains a broken % escape.') : error)
    const ids = requestIdsOf(req.headers)
    if (!isBrokenPath) log.error({ error, request_id: ids.correlation }, 'http.failed')
    send(res, { status: problem.status, headers: problem.headers, body: errorEnvelope(problem) }, ids)
  }
}
