import { type FactType, type RecordedDeliveryEvent, statusOf } from '../../events/delivery.ts'
import { routedMessagesIn } from '../../events/delivery-facts.ts'
import type { RecordedEvent } from '../../events/envelope.ts'
import type { TenantId, WebhookId } from '../../events/ids.ts'
import { upcast } from '../../events/schema.ts'
import type * as shown from '../responses.ts'

/** Something that happened to a message or a delivery, as a stream shows it. It has no payload and no response. */
export interface LiveItem {
  readonly tenant: TenantId
  /** The webhook of the delivery, or null for an item about a message. */
  readonly webhook: WebhookId | null
  readonly event: string
  readonly status: string
  /** The item as JSON. */
  readonly json: string
}

/** Returns the item of a stored event about a delivery. An event about a message has none. */
export function deliveryItems(stored: RecordedEvent): LiveItem[] {
  const { type, data, metadata } = upcast(stored) as RecordedDeliveryEvent
  if (!('delivery' in data)) return []
  const { tenant, webhook, event, delivery: id, message: event_id, chain, attempt, accepted_at } = data
  const status = statusOf[type as FactType]
  const { code = null, duration_ms = null } = 'code' in data ? data : {}
  const view = {
    ...{ id, event_id, webhook_id: webhook, event, status, chain, attempt, at: metadata.time, accepted_at },
    ...{ response_code: code, duration_ms, reason: 'reason' in data ? data.reason : null },
    delay_seconds: 'delay_seconds' in data ? data.delay_seconds : null,
  } satisfies shown.LiveDelivery
  return [{ tenant, webhook, event, status, json: JSON.stringify(view) }]
}

/** Returns the items of a stored event about messages. A message with a large fan-out has several events, of which only the first has an item. */
export function messageItems(stored: RecordedEvent): LiveItem[] {
  const recorded = upcast(stored) as RecordedDeliveryEvent
  const at = recorded.metadata.time
  if (recorded.type === 'MessageRejected') {
    const { tenant, message, event, accepted_at } = recorded.data
    const view = { id: message, event, status: 'rejected', webhook_count: 0, accepted_at, at } satisfies shown.LiveEvent
    return [{ tenant, webhook: null, event, status: view.status, json: JSON.stringify(view) }]
  }
  if (recorded.type !== 'MessageRouted' && recorded.type !== 'MessagesRouted') return []
  if (recorded.type === 'MessageRouted' && recorded.data.part > 0) return []
  return routedMessagesIn(recorded).map(({ message, webhooks }) => {
    const { tenant, event, accepted_at } = message
    const status = webhooks.length === 0 ? 'unmatched' : 'routed'
    const view = { id: message.message, event, status, webhook_count: webhooks.length, accepted_at, at } satisfies shown.LiveEvent
    return { tenant, webhook: null, event, status, json: JSON.stringify(view) }
  })
}
