import type { TenantId } from '../events/ids.ts'
import type { FairQueue } from './fair-queue.ts'

interface Waiting {
  readonly tenant: TenantId
  readonly waiting: { readonly bytes: number }
}

/**
 * Returns the share of a webhook: the bytes of waiting deliveries that it may always have in memory. The memory is divided evenly between the tenants
 * that have deliveries waiting. The part of a tenant is divided evenly between those of its webhooks that have deliveries waiting (decision 52). The
 * webhook must be one of these.
 */
export function shareOf<W extends Waiting>(queue: FairQueue<W>, webhook: W, maxBytes: number): number {
  return Math.floor(maxBytes / queue.tenants / queue.webhooksOf(webhook.tenant))
}

/** Returns the webhook whose use exceeds its share by most bytes, or undefined if no webhook exceeds its share. */
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
