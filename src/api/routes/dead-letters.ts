import type { DeadLettersQuery } from '../../ports/delivery-log.ts'
import { createDeliveryPages, resultFilterOf, visibleWebhooks } from '../delivery-pages.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { cursorPagination, envelope, listOf, pageExample } from '../schemas/common.ts'
import { deadLetterExample, delivery, listDeadLettersQuery, listProblemsQuery, problems } from '../schemas/delivery.ts'
import { parseTimeRange } from '../time-range.ts'

/** The most dead letters that are grouped, and the most groups that a response has. */
const grouped = { deadLetters: 10_000, groups: 100 }

/** The routes that show what failed for good. */
export function createDeadLetterRoutes(deps: ApiDependencies): Route[] {
  const { pageOf } = createDeliveryPages(deps)
  const common = { tag: 'Deliveries', credentials: 'bearer-or-key', scope: 'read:webhooks' } as const
  return [
    guardedRoute({
      ...common,
      method: 'GET',
      path: '/v1/dead-letters',
      operationId: 'listDeadLetters',
      summary: 'List deliveries that ended in failure; the latest failure comes first',
      description:
        'Returns the deliveries that are given up: the receiver refused them for good, the attempts are used up, or the event has expired. Each one can be replayed.',
      query: listDeadLettersQuery,
      errors: ['invalid_cursor', 'history_too_wide', 'delivery_log_unavailable'],
      responses: {
        200: {
          description: 'A page of dead letters.',
          schema: envelope(listOf(delivery), cursorPagination),
          example: pageExample([deadLetterExample]),
        },
      },
      async handler(request) {
        const { query, caller } = request
        const webhooks = await visibleWebhooks(deps, request, query.webhook)
        const filter = { ...parseTimeRange(query), ...resultFilterOf(query), ...(webhooks === undefined ? {} : { webhooks }) }
        return pageOf(
          caller.tenant,
          query,
          async (bounds) => (webhooks?.length === 0 ? [] : deps.deliveryLog.deadLetters({ ...bounds, ...filter })),
          (row) => row.time,
        )
      },
    }),
    guardedRoute({
      ...common,
      method: 'GET',
      path: '/v1/problems',
      operationId: 'listProblems',
      summary: 'Group the deliveries that ended in failure by webhook, event and result',
      description:
        'Returns what the dead letters have in common, for example that one receiver refuses all events of one name. With the same values, `POST /v1/replays` replays a group.',
      query: listProblemsQuery,
      errors: ['history_too_wide', 'delivery_log_unavailable'],
      responses: { 200: { description: 'The groups.', schema: envelope(problems) } },
      async handler(request) {
        const { query, caller } = request
        const webhooks = await visibleWebhooks(deps, request, query.webhook)
        const filter: DeadLettersQuery = {
          ...{ tenant: caller.tenant, limit: grouped.deadLetters, ...parseTimeRange(query), ...resultFilterOf(query) },
          ...(webhooks === undefined ? {} : { webhooks }),
        }
        const groups = webhooks?.length === 0 ? [] : await deps.deliveryLog.deadLetterGroups(filter)
        const count = groups.reduce((sum, group) => sum + group.count, 0)
        return envelopeResult(200, {
          count,
          is_complete: count < grouped.deadLetters,
          groups: groups.slice(0, grouped.groups).map(({ webhook, ...group }) => ({ webhook_id: webhook, ...group })),
        })
      },
    }),
  ]
}
