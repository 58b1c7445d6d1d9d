import { deliveryId } from './delivery-id.ts'
import type { DeliveryId, MessageId, Place, TenantId, WebhookId } from './ids.ts'

/** Identifies a message: every event, row and key about a message carries these fields. */
export interface MessageRef {
  readonly tenant: TenantId
  readonly message: MessageId
  readonly place: Place
  /** HMAC (hex) of the content under the tenant's key. */
  readonly fingerprint: string
  /** The message's event name, such as `order.created`. */
  readonly event: string
  /** RFC 3339 time of acceptance. */
  readonly accepted_at: string
}
/** Identifies a delivery and one of its attempts. */
export interface DeliveryRef extends MessageRef {
  readonly webhook: WebhookId
  readonly delivery: DeliveryId
  readonly correlation_id: string
  /** Counts from 1. A replay begins the next chain. */
  readonly chain: number
  /** Counts from 1 within its chain. It is 0 as long as the chain has no request (after routing, or after a replay). */
  readonly attempt: number
}
/** The fields of a DeliveryRef that the data of an event holds. The correlation id is in the event's metadata. */
export type DeliveryEventRef = Omit<DeliveryRef, 'correlation_id'>

/** The fields of a MessageRef in the order of its columns. */
export const messageRefFields = ['tenant', 'message', 'place', 'fingerprint', 'event', 'accepted_at'] as const
/** The fields of a DeliveryRef in the order of its columns. */
export const deliveryRefFields = [...messageRefFields, 'webhook', 'delivery', 'correlation_id', 'chain', 'attempt'] as const

/** Copies the fields of a MessageRef from an object that may have more. */
export const messageRefOf = ({ tenant, message, place, fingerprint, event, accepted_at }: MessageRef): MessageRef => ({
  tenant,
  message,
  place,
  fingerprint,
  event,
  accepted_at,
})
/** Copies the fields of a DeliveryRef from an object that may have more. */
export const deliveryRefOf = (ref: DeliveryRef): DeliveryRef => {
  const { tenant, message, place, fingerprint, event, accepted_at, webhook, delivery, correlation_id, chain, attempt } = ref
  return { tenant, message, place, fingerprint, event, accepted_at, webhook, delivery, correlation_id, chain, attempt }
}
/** Copies the fields that go into the data of an event about a delivery. */
export const deliveryEventRefOf = (ref: DeliveryEventRef): DeliveryEventRef => {
  const { tenant, message, place, fingerprint, event, accepted_at, webhook, delivery, chain, attempt } = ref
  return { tenant, message, place, fingerprint, event, accepted_at, webhook, delivery, chain, attempt }
}

/** Returns the first attempt of the delivery that a routed message owes to a webhook. */
export const firstAttempt = (ref: MessageRef, webhook: WebhookId, correlation_id: string): DeliveryRef => {
  const { tenant, message, place, fingerprint, event, accepted_at } = ref
  const delivery = deliveryId(tenant, message, place, webhook)
  return { tenant, message, place, fingerprint, event, accepted_at, webhook, delivery, correlation_id, chain: 1, attempt: 1 }
}

/** Returns whether one attempt of a delivery comes after another. */
export const isLater = (a: Pick<DeliveryRef, 'chain' | 'attempt'>, b: Pick<DeliveryRef, 'chain' | 'attempt'>): boolean =>
  a.chain > b.chain || (a.chain === b.chain && a.attempt > b.attempt)

/** The client or key that posted messages, and Kolbak's own id of the request. */
export interface Producer {
  readonly actor: string
  readonly request_id: string
}
