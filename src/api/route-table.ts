import type { Credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { FailedCredentials } from './failed-credentials.ts'
import { idempotent } from './idempotency.ts'
import { createIdempotencyKeys } from './idempotency-keys.ts'
import { openApi } from './openapi.ts'
import type { Route } from './route.ts'
import { auditRoutes } from './routes/audit.ts'
import { authRoutes } from './routes/auth.ts'
import { clientRoutes } from './routes/clients.ts'
import { deliveryRoutes } from './routes/deliveries.ts'
import { eventRoutes } from './routes/events.ts'
import { explainRoutes } from './routes/explain.ts'
import { historyRoutes } from './routes/history.ts'
import { jobRoutes } from './routes/jobs.ts'
import { keyRoutes } from './routes/keys.ts'
import { operationRoutes } from './routes/operation.ts'
import { postEventRoutes } from './routes/post-events.ts'
import { tenantRoutes } from './routes/tenants.ts'
import { webhookActionRoutes } from './routes/webhook-actions.ts'
import { webhookRoutes } from './routes/webhooks.ts'
import type { Tokens } from './tokens.ts'

/** Every route there is: mounting, scope checks, `/openapi.json` and the tests of strangers are made from this table. */
export function routeTable(
  deps: ApiDependencies & { newUlid(): string },
  { credentials, tokens, failed }: { credentials: Credentials; tokens: Tokens; failed: FailedCredentials },
): Route[] {
  let document: string | undefined
  const table: Route[] = [
    ...authRoutes(deps, tokens, failed),
    ...tenantRoutes(deps),
    ...clientRoutes(deps),
    ...keyRoutes(deps),
    ...webhookRoutes(deps),
    ...webhookActionRoutes(deps),
    ...postEventRoutes(deps),
    ...eventRoutes(deps),
    ...deliveryRoutes(deps),
    ...jobRoutes(deps),
    ...historyRoutes(deps),
    ...explainRoutes(deps),
    ...auditRoutes(deps),
    ...operationRoutes(deps, credentials, () => {
      document ??= JSON.stringify(openApi(table, deps.settings.version))
      return document
    }),
  ]
  const once = idempotent({ ...deps, keys: createIdempotencyKeys(deps) })
  return table.map((route) => (route.idempotent ? once(route) : route))
}
