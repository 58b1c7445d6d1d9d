import { monotonicFactory } from 'ulid'
import { createRandomNumbers } from '../lib/random-numbers.ts'
import { createCredentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import { createExpressApp, mountRoutes } from './express-app.ts'
import { addressOf, createExpressBypass } from './express-bypass.ts'
import { createFailedCredentials } from './failed-credentials.ts'
import { createHttpServer, type HttpServer } from './http-server.ts'
import { createPipeline } from './pipeline.ts'
import { createRateLimits } from './rate-limits.ts'
import type { Route } from './route.ts'
import { createRouteTable } from './route-table.ts'
import { operationTag } from './routes/index-route.ts'
import { createTokens } from './tokens.ts'
import { createUi } from './ui/ui.ts'

export interface Api extends Pick<HttpServer, 'listen' | 'close'> {
  readonly routes: readonly Route[]
}

const defaultFailedCredentialsPerMinute = 100

/**
 * Serves the API on an HTTP server, which may be listening already.
 * @param operationOnly whether only health and metrics are served, as in a process without the role `api`
 */
export function createApi(
  deps: ApiDependencies,
  { server = createHttpServer(deps.settings.slowRequestMs), operationOnly = false }: { server?: HttpServer; operationOnly?: boolean } = {},
): Api {
  const { settings, now, log } = deps
  const tokens = createTokens({ secret: settings.jwtSecret, ttlSeconds: settings.tokenTtlSeconds, now })
  const failedCredentials = createFailedCredentials(settings.failedCredentialsPerMinute ?? defaultFailedCredentialsPerMinute)
  const credentials = createCredentials(deps, tokens, failedCredentials)
  const nextUlid = monotonicFactory(createRandomNumbers())
  const table = createRouteTable(
    { ...deps, newUlid: () => nextUlid(now()), closing: server.closing },
    { credentials, tokens, failedCredentials },
  )
  const routes = operationOnly ? table.filter((route) => route.tag === operationTag) : table
  const app = createExpressApp(settings.trustProxy)
  const serve = createPipeline({
    ...deps,
    credentials,
    rateLimits: createRateLimits({ ...settings, processes: deps.processes }),
    addressOf: (req) => addressOf(app, req),
  })
  const ui = operationOnly || settings.hasUi !== true ? null : createUi(deps, { tokens, failedCredentials, credentials, app })
  mountRoutes(app, routes, serve, { log, ui: ui?.router ?? null })
  const listener = createExpressBypass(routes, serve, app, log)
  server.serve(ui === null ? listener : ui.withSessions(listener))
  return { routes, listen: server.listen, close: server.close }
}
