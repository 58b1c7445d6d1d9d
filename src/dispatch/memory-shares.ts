import type { TenantId } from '../events/ids.ts'
import type { FairQueue } from './fair-queue.ts'

interface Waiting {
  readonly tenant: TenantId
  readonly waiting: { readonly bytes: number }
}

/**
 * Returns the bytes of the memory for waiting deliveries that a webhook may always use. The memory is divided evenly between the tenants that have
 * deliveries waiting, and the share of a tenant evenly between its webhooks that have (decision 52). The webhook
 * must be one of them.
 */
export function shareOf<W extends Waiting>(queue: FairQueue<W>, webhook: W, maxBytes: number): number {
  return Math.floor(maxBytes / queue.tenants / queue.webhooksOf(webhook.tenant))
}

/** Returns the webhook that uses most beyond its share, or undefined if none does. */
export function mostBeyondShare<W extends Waiting>(queue: FairQueue<W>, maxBytes: number): W | undefined {
  let most: W | undefined
  let beyond = 0
  for (const webhook of queue.webhooks()) {
    const excess = webhook.waiting.bytes - shareOf(queue, webhook, maxBytes)
    if (excess > beyond) {
      beyond = excess
      most = webhook
    }
  }
  return most
}
