import type { TenantId, WebhookId } from '../events/ids.ts'
import type { Allotment, WaitingWebhook } from './schedule.ts'
import type { Slots } from './slots.ts'
import type { WebhookCache } from './webhook-cache.ts'

/**
 * The most claimed rows in memory. They are split evenly between the waiting tenants, and the share of a tenant evenly between its webhooks. So no
 * tenant or webhook delays another (decision 31).
 */
export const maxClaimedRows = 2_000
/** The most claimed rows of one tenant, even if no other tenant waits. */
const maxRowsPerTenant = 500
/** The most rows that one statement claims. */
const maxRowsPerClaim = 500

/**
 * Decides how many rows of which webhooks to claim. Rows of an unknown webhook or of a suspended tenant wait.
 * @param waiting webhooks with due or parked rows, in the order of their ids
 * @param claimed the rows that this process has claimed already
 * @returns the allotments, and the last webhook that was considered
 */
export function allotRows(
  { webhookCache, slots }: { webhookCache: Pick<WebhookCache, 'get' | 'isSuspended'>; slots: Pick<Slots, 'claimableRows'> },
  waiting: readonly WaitingWebhook[],
  claimed: readonly { tenant: TenantId; webhook: WebhookId }[],
): { allotments: Allotment[]; last: string } {
  const tenants = waiting.map(({ webhook, claimable }) => {
    const tenant = claimable ? webhookCache.get(webhook)?.tenant : undefined
    return tenant === undefined || webhookCache.isSuspended(tenant) ? undefined : tenant
  })
  const webhooksPerTenant = countOf(tenants.filter((tenant) => tenant !== undefined))
  const perTenant = Math.min(maxRowsPerTenant, Math.ceil(maxClaimedRows / Math.max(1, webhooksPerTenant.size)))
  const rowsOfTenant = countOf(claimed.map(({ tenant }) => tenant))
  const rowsOfWebhook = countOf(claimed.map(({ webhook }) => webhook))
  const allotments: Allotment[] = []
  let rowsLeft = Math.min(maxRowsPerClaim, maxClaimedRows - claimed.length)
  let last = ''
  for (const [i, { webhook }] of waiting.entries()) {
    if (rowsLeft <= 0) break
    last = webhook
    const tenant = tenants[i]
    if (tenant === undefined) continue
    const perWebhook = Math.ceil(perTenant / (webhooksPerTenant.get(tenant) ?? 1))
    const ofTenant = rowsOfTenant.get(tenant) ?? 0
    const ofWebhook = rowsOfWebhook.get(webhook) ?? 0
    const count = Math.min(rowsLeft, perTenant - ofTenant, perWebhook - ofWebhook, slots.claimableRows(webhook, tenant))
    if (count <= 0) continue
    rowsOfTenant.set(tenant, ofTenant + count)
    allotments.push({ webhook, count })
    rowsLeft -= count
  }
  return { allotments, last }
}

function countOf<K>(keys: readonly K[]): Map<K, number> {
  const counts = new Map<K, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}
