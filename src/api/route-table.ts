import type { Credentials } from './credentials.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { FailedCredentials } from './failed-credentials.ts'
import { createIdempotency } from './idempotency.ts'
import { createIdempotencyKeys } from './idempotency-keys.ts'
import { createOpenApiDocument } from './openapi.ts'
import type { Route } from './route.ts'
import { createAuditRoutes } from './routes/audit.ts'
import { createAuthRoutes } from './routes/auth.ts'
import { createClientRoutes } from './routes/clients.ts'
import { createDeadLetterRoutes } from './routes/dead-letters.ts'
import { createDeliveryRoutes } from './routes/deliveries.ts'
import { createErasureRoutes } from './routes/erasures.ts'
import { createEventRoutes } from './routes/events.ts'
import { createExplainRoutes } from './routes/explain.ts'
import { createHistoryRoutes } from './routes/history.ts'
import { createJobRoutes } from './routes/jobs.ts'
import { createKeyRoutes } from './routes/keys.ts'
import { createMeRoutes } from './routes/me.ts'
import { createOperationRoutes } from './routes/operation.ts'
import { createPostEventRoutes } from './routes/post-events.ts'
import { createReplayRoutes } from './routes/replays.ts'
import { createSentRequestRoutes } from './routes/sent-request.ts'
import { createStatisticsRoutes } from './routes/statistics.ts'
import { createStreamRoutes } from './routes/streams.ts'
import { createTenantErasureRoutes } from './routes/tenant-erasure.ts'
import { createTenantRoutes } from './routes/tenants.ts'
import { createTimelineRoutes } from './routes/timeline.ts'
import { createWebhookActionRoutes } from './routes/webhook-actions.ts'
import { createWebhookRoutes } from './routes/webhooks.ts'
import type { Tokens } from './tokens.ts'

/** Returns all routes. Mounting, scope checks, `/openapi.json` and the tests of tenant isolation are made from this table. */
export function createRouteTable(
  deps: ApiDependencies & { newUlid(): string; readonly closing: AbortSignal },
  { credentials, tokens, failedCredentials }: { credentials: Credentials; tokens: Tokens; failedCredentials: FailedCredentials },
): Route[] {
  let document: string | undefined
  const table: Route[] = [
    ...createAuthRoutes(deps, tokens, failedCredentials),
    ...createMeRoutes(deps),
    ...createTenantRoutes(deps),
    ...createTenantErasureRoutes(deps),
    ...createClientRoutes(deps),
    ...createKeyRoutes(deps),
    ...createWebhookRoutes(deps),
    ...createWebhookActionRoutes(deps),
    ...createPostEventRoutes(deps),
    // Express takes the first path that fits, so these come before the paths with an id.
    ...createStreamRoutes(deps),
    ...createEventRoutes(deps),
    ...createErasureRoutes(deps),
    ...createDeliveryRoutes(deps),
    ...createDeadLetterRoutes(deps),
    ...createStatisticsRoutes(deps),
    ...createSentRequestRoutes(deps),
    ...createTimelineRoutes(deps),
    ...createReplayRoutes(deps),
    ...createJobRoutes(deps),
    ...createHistoryRoutes(deps),
    ...createExplainRoutes(deps),
    ...createAuditRoutes(deps),
    ...createOperationRoutes(deps, credentials, () => {
      document ??= JSON.stringify(createOpenApiDocument(table, deps.settings.version))
      return document
    }),
  ]
  const withIdempotency = createIdempotency({ ...deps, keys: createIdempotencyKeys(deps) })
  return table.map((route) => (route.idempotent ? withIdempotency(route) : route))
}
