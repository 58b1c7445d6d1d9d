import type { Credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { FailedCredentials } from './failed-credentials.ts'
import { idempotent } from './idempotency.ts'
import { createIdempotencyKeys } from './idempotency-keys.ts'
import { openApi } from './openapi.ts'
import type { Route } from './route.ts'
import { createAuditRoutes } from './routes/audit.ts'
import { createAuthRoutes } from './routes/auth.ts'
import { createClientRoutes } from './routes/clients.ts'
import { createDeliveryRoutes } from './routes/deliveries.ts'
import { createEventRoutes } from './routes/events.ts'
import { createExplainRoutes } from './routes/explain.ts'
import { createHistoryRoutes } from './routes/history.ts'
import { createJobRoutes } from './routes/jobs.ts'
import { createKeyRoutes } from './routes/keys.ts'
import { createOperationRoutes } from './routes/operation.ts'
import { createPostEventRoutes } from './routes/post-events.ts'
import { createTenantRoutes } from './routes/tenants.ts'
import { createWebhookActionRoutes } from './routes/webhook-actions.ts'
import { createWebhookRoutes } from './routes/webhooks.ts'
import type { Tokens } from './tokens.ts'

/** Every route there is: mounting, scope checks, `/openapi.json` and the tests of strangers are made from this table. */
export function createRouteTable(
  deps: ApiDependencies & { newUlid(): string },
  { credentials, tokens, failed }: { credentials: Credentials; tokens: Tokens; failed: FailedCredentials },
): Route[] {
  let document: string | undefined
  const table: Route[] = [
    ...createAuthRoutes(deps, tokens, failed),
    ...createTenantRoutes(deps),
    ...createClientRoutes(deps),
    ...createKeyRoutes(deps),
    ...createWebhookRoutes(deps),
    ...createWebhookActionRoutes(deps),
    ...createPostEventRoutes(deps),
    ...createEventRoutes(deps),
    ...createDeliveryRoutes(deps),
    ...createJobRoutes(deps),
    ...createHistoryRoutes(deps),
    ...createExplainRoutes(deps),
    ...createAuditRoutes(deps),
    ...createOperationRoutes(deps, credentials, () => {
      document ??= JSON.stringify(openApi(table, deps.settings.version))
      return document
    }),
  ]
  const once = idempotent({ ...deps, keys: createIdempotencyKeys(deps) })
  return table.map((route) => (route.idempotent ? once(route) : route))
}
