import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from './ids.ts'
import { uuidV5 } from './uuid.ts'

/** Returns the id of one message owed to one webhook. Every process computes the same id. */
export const deliveryId = (tenant: TenantId, message: MessageId, place: Place, webhook: WebhookId): DeliveryId =>
  uuidV5('delivery', tenant, message, place, webhook) as DeliveryId

/** Returns the event id of one part of a MessageRouted. The id depends only on its arguments, so that a repeated routing stores the event once. */
export const routedId = (tenant: TenantId, message: MessageId, place: Place, part: number): EventId =>
  uuidV5('routed', tenant, message, place, String(part)) as EventId

/** Returns the event id of the MessageRejected at this place. */
export const rejectedId = (place: Place): EventId => uuidV5('rejected', place) as EventId

/**
 * Returns the event id of the DeliveryReplayed that begins a chain. Two requests for the same chain get the same id, so that the event is stored
 * once.
 */
export const replayedId = (delivery: DeliveryId, chain: number): EventId => uuidV5('replayed', delivery, String(chain)) as EventId
