import { findTenant } from '../../projections/tenants.ts'
import { createActorNames } from '../actor-names.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { me } from '../schemas/me.ts'

/** The route by which a caller learns who it is. */
export const createMeRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    method: 'GET',
    path: '/v1/me',
    operationId: 'getMe',
    summary: 'Read who you are: the credential, its scopes, and the limits of its account',
    description: 'Returns what the service knows about the credential of this request. It works with every valid credential.',
    tag: 'Auth',
    credentials: 'bearer-or-key',
    scope: null,
    responses: { 200: { description: 'The caller.', schema: envelope(me) } },
    async handler({ caller, limits }) {
      const { tenant, actor, scopes, key_id } = caller
      const [{ kind, id, name }, account] = await Promise.all([
        createActorNames(deps, tenant)(actor, new Date(deps.now()).toISOString()),
        key_id === null ? findTenant(deps.pool, tenant) : null,
      ])
      const { settings } = deps
      return envelopeResult(200, {
        ...{ kind, id, name, tenant: { id: tenant, name: account?.name ?? null }, scopes: [...scopes] },
        limits: {
          webhooks: limits.webhooks ?? settings.maxWebhooksPerTenant,
          events_per_second: limits.events_per_second ?? settings.eventsPerSecond,
          requests_per_second: limits.requests_per_second ?? settings.requestsPerSecond,
        },
        retention_days: settings.retentionDays,
        version: settings.version,
      } satisfies shown.Me)
    },
  }),
]
