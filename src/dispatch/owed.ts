import { deliveryId } from '../events/delivery-id.ts'
import type { DeliveryId, WebhookId } from '../events/ids.ts'
import type { PayloadKey } from '../ports/delivery-log.ts'

/** A delivery and the attempt of it that is next. */
export interface Owed extends PayloadKey {
  readonly webhook: WebhookId
  readonly event: string
  readonly correlation_id: string
  readonly delivery: DeliveryId
  readonly chain: number
  readonly attempt: number
}

/** What a message that was routed owes one of its webhooks: the first attempt. */
export const firstOwed = (
  { tenant, message, place, fingerprint, event, accepted_at }: Omit<Owed, 'webhook' | 'correlation_id' | 'delivery' | 'chain' | 'attempt'>,
  webhook: WebhookId,
  correlation_id: string,
): Owed => ({
  ...{ tenant, webhook, message, place, fingerprint, event, accepted_at, correlation_id },
  delivery: deliveryId(tenant, message, place, webhook),
  chain: 1,
  attempt: 1,
})

/** The order of attempts of one delivery. */
export const isLater = (a: { chain: number; attempt: number }, b: { chain: number; attempt: number }): boolean =>
  a.chain > b.chain || (a.chain === b.chain && a.attempt > b.attempt)
