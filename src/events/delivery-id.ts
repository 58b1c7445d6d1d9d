import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from './ids.ts'
import { uuidV5 } from './uuid.ts'

/** The id of one message owed to one webhook: the same whoever computes it, and however often. */
export const deliveryId = (tenant: TenantId, message: MessageId, place: Place, webhook: WebhookId): DeliveryId =>
  uuidV5('delivery', tenant, message, place, webhook) as DeliveryId

/** Of a MessageRouted: a repeated routing appends the same event. */
export const routedId = (tenant: TenantId, message: MessageId, place: Place, part: number): EventId =>
  uuidV5('routed', tenant, message, place, String(part)) as EventId

/** Of a MessageRejected. */
export const rejectedId = (place: Place): EventId => uuidV5('rejected', place) as EventId

/** Of a DeliveryReplayed: a second request meanwhile joins the first. */
export const replayedId = (delivery: DeliveryId, chain: number): EventId => uuidV5('replayed', delivery, String(chain)) as EventId
