import type { DeliveryId, WebhookId } from '../events/ids.ts'
import type { PayloadKey } from '../ports/delivery-log.ts'

/** A delivery and the attempt of it that is next. */
export interface Owed extends PayloadKey {
  readonly webhook: WebhookId
  readonly event: string
  readonly correlationId: string
  readonly delivery: DeliveryId
  readonly chain: number
  readonly attempt: number
}

/** The order of attempts of one delivery. */
export const isLater = (a: { chain: number; attempt: number }, b: { chain: number; attempt: number }): boolean =>
  a.chain > b.chain || (a.chain === b.chain && a.attempt > b.attempt)
