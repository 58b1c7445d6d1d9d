import type { IncomingMessage, RequestListener } from 'node:http'
import type { Express, Request } from 'express'
import type { Log } from '../lib/log.ts'
import type { Serve } from './pipeline.ts'
import type { Route } from './route.ts'

/*
 * Lets the two routes on which producers post events skip Express.
 *
 * For each request, Express replaces the prototypes of the request and the response by its own, parses the URL, and tries the
 * layers of its router one after another. This takes 30-40 µs of the 290 µs that accepting an event takes (measured). The two
 * routes need none of it: their paths have no parameters, and the pipeline reads the query, the headers and the body itself.
 *
 * The Express application has the same two routes. It serves them when the URL is not exactly the path of the route, for
 * instance because it has a query string or an escape.
 */

export const skipsExpress = (route: Route): boolean => route.operationId === 'postEvent' || route.operationId === 'postEvents'

const noParams = {}

/** Returns a listener that serves those routes directly and passes every other request to Express. */
export function createExpressBypass(routes: readonly Route[], serve: (route: Route) => Serve, app: Express, log: Log): RequestListener {
  const direct = new Map(routes.filter(skipsExpress).map((route) => [route.path, serve(route)]))
  return (req, res) => {
    const handler = req.method === 'POST' ? direct.get(req.url ?? '') : undefined
    if (handler === undefined) app(req, res)
    else
      handler(req, res, noParams).catch((error: unknown) => {
        // The pipeline turns the errors of a route into a response, so an error here comes from the pipeline itself.
        log.error({ error }, 'http.failed')
        res.destroy()
      })
  }
}

/**
 * Returns the caller's address by Express's rules for "trust proxy" and `X-Forwarded-For`, or an empty text. Express defines `ip` on the prototype of
 * its requests. A request that has skipped Express has another prototype, so the function makes an object with Express's prototype for it.
 */
export function addressOf(app: Express, { headers, socket }: IncomingMessage): string {
  const standIn: Request = Object.create(app.request, { headers: { value: headers }, socket: { value: socket } })
  return standIn.ip ?? ''
}
