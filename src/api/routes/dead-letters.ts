import { createDeliveryPages, deadLetterFilterOf, deliveryPageParts } from '../delivery-pages.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { deadLetterExample, listDeadLettersQuery, listProblemsQuery, problems } from '../schemas/delivery.ts'

/** The most dead letters that are grouped, and the most groups that a response has. */
const grouped = { deadLetters: 10_000, groups: 100 }
const tag = 'Deliveries'

/** The routes that show what failed for good. */
export function createDeadLetterRoutes(deps: ApiDependencies): Route[] {
  const { pageOf } = createDeliveryPages(deps)
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/dead-letters',
      operationId: 'listDeadLetters',
      summary: 'List deliveries that ended in failure; the latest failure comes first',
      description:
        'Returns the deliveries that are given up: the receiver refused them for good, the attempts are used up, or the event has expired. Each one can be replayed.',
      tag,
      query: listDeadLettersQuery,
      ...deliveryPageParts('A page of dead letters.', deadLetterExample),
      async handler(request) {
        const filter = await deadLetterFilterOf(deps, request)
        return pageOf(
          request.caller.tenant,
          request.query,
          async (bounds) => (filter === null ? [] : deps.deliveryLog.deadLetters({ ...bounds, ...filter })),
          (row) => row.time,
        )
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/problems',
      operationId: 'listProblems',
      summary: 'Group the deliveries that ended in failure by webhook, event and result',
      description:
        'Returns what the dead letters have in common, for example that one receiver refuses all events of one name. With the same values, `POST /v1/replays` replays a group.',
      tag,
      credentials: 'bearer-or-key',
      scope: 'read:webhooks',
      query: listProblemsQuery,
      errors: ['history_too_wide', 'delivery_log_unavailable'],
      responses: { 200: { description: 'The groups.', schema: envelope(problems) } },
      async handler(request) {
        const filter = await deadLetterFilterOf(deps, request)
        const bounds = { tenant: request.caller.tenant, limit: grouped.deadLetters }
        const groups = filter === null ? [] : await deps.deliveryLog.deadLetterGroups({ ...bounds, ...filter })
        const count = groups.reduce((sum, group) => sum + group.count, 0)
        return envelopeResult(200, {
          count,
          is_complete: count < grouped.deadLetters,
          groups: groups.slice(0, grouped.groups).map(({ webhook, ...group }) => ({ webhook_id: webhook, ...group })),
        } satisfies shown.Problems)
      },
    }),
  ]
}
