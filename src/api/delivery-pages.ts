import type { TenantId, WebhookId } from '../events/ids.ts'
import type { DeadLettersQuery, Delivery, HistoryCursor, ListedDelivery, ResultFilter } from '../ports/delivery-log.ts'
import { listWebhooks } from '../projections/webhooks.ts'
import { readCursor, writeCursor } from './cursors.ts'
import { createDeliveryViews } from './delivery-views.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { Identity } from './identity.ts'
import type { RouteResult } from './route.ts'
import { envelopeResult } from './route-results.ts'
import { cursorPagination, defaultLimit, envelope, listOf, pageExample } from './schemas/common.ts'
import { type CursorQuery, delivery } from './schemas/delivery.ts'
import { parseTimeRange } from './time-range.ts'

/** The parts of a declaration that all routes that list deliveries share. @param example a delivery of the list */
export const deliveryPageParts = (description: string, example: unknown) =>
  ({
    credentials: 'bearer-or-key',
    scope: 'read:webhooks',
    errors: ['invalid_cursor', 'history_too_wide', 'delivery_log_unavailable'],
    responses: { 200: { description, schema: envelope(listOf(delivery), cursorPagination), example: pageExample([example]) } },
  }) as const

/** The most webhooks of one key that are read for a query. The default limit of a tenant is lower. */
const maxWebhooksOfKey = 10_000

interface PageBounds {
  readonly tenant: TenantId
  readonly limit: number
  readonly after?: HistoryCursor
}
export function createDeliveryPages(deps: ApiDependencies) {
  const { viewsOf } = createDeliveryViews(deps)
  return {
    /**
     * Makes a page. One row more than the page shows is read, to know whether there is a next page.
     * @param timeOf the time by which the rows are ordered
     */
    async pageOf(
      tenant: TenantId,
      { cursor, limit = defaultLimit }: CursorQuery,
      readRows: (bounds: PageBounds) => Promise<ListedDelivery[]>,
      timeOf: (row: Delivery) => string,
    ): Promise<RouteResult> {
      const after = cursor === undefined ? {} : { after: readCursor(cursor) }
      const rows = await readRows({ tenant, limit: limit + 1, ...after })
      const pageRows = rows.slice(0, limit)
      const lastRow = pageRows.at(-1)
      const hasNext = rows.length > limit && lastRow !== undefined
      const next_cursor = hasNext ? writeCursor({ at: timeOf(lastRow), delivery: lastRow.delivery }) : null
      return envelopeResult(200, await viewsOf(tenant, pageRows), {}, { limit, next_cursor })
    },
  }
}

/** Returns the webhooks whose deliveries the caller may see in a list; undefined stands for all webhooks of the tenant. */
export async function visibleWebhooks(
  deps: ApiDependencies,
  { caller }: Identity,
  requested: WebhookId | undefined,
): Promise<WebhookId[] | undefined> {
  if (caller.key_id === null) return requested === undefined ? undefined : [requested]
  const filter = { tenant: caller.tenant, key_id: caller.key_id, limit: maxWebhooksOfKey, offset: 0 }
  const { rows } = await listWebhooks(deps, requested === undefined ? filter : { ...filter, ids: [requested] })
  return rows.map((row) => row.id)
}

/**
 * Returns the conditions of a query about dead letters: the time, the result, and the webhooks that the caller may see. Returns null if the caller sees no
 * webhook, so that nothing is found.
 */
export async function deadLetterFilterOf(
  deps: ApiDependencies,
  request: Identity & { readonly query: ResultFilter & { since?: string; until?: string; webhook?: WebhookId } },
): Promise<Pick<DeadLettersQuery, 'since' | 'until' | 'webhooks' | keyof ResultFilter> | null> {
  const { query } = request
  const webhooks = await visibleWebhooks(deps, request, query.webhook)
  const filter = { ...parseTimeRange(query), ...resultFilterOf(query), ...(webhooks === undefined ? {} : { webhooks }) }
  return webhooks?.length === 0 ? null : filter
}

/** Returns the conditions of a query on the event and the last result of a delivery. */
export const resultFilterOf = ({ event, reason, code }: ResultFilter): ResultFilter => ({
  ...(event === undefined ? {} : { event }),
  ...(reason === undefined ? {} : { reason }),
  ...(code === undefined ? {} : { code }),
})
