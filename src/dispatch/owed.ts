import type { DeliveryId, MessageId, Place, TenantId, WebhookId } from '../events/ids.ts'
import type { PayloadKey } from '../ports/delivery-log.ts'

/** A delivery and the attempt of it that is next. */
export interface Owed extends PayloadKey {
  readonly tenant: TenantId
  readonly webhook: WebhookId
  readonly message: MessageId
  readonly place: Place
  readonly fingerprint: string
  readonly event: string
  readonly acceptedAt: string
  readonly correlationId: string
  readonly delivery: DeliveryId
  readonly chain: number
  readonly attempt: number
}

/** The order of attempts of one delivery. */
export const isLater = (a: { chain: number; attempt: number }, b: { chain: number; attempt: number }): boolean =>
  a.chain > b.chain || (a.chain === b.chain && a.attempt > b.attempt)
