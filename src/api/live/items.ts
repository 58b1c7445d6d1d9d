import { type RecordedDeliveryEvent, statusOf } from '../../events/delivery.ts'
import { factsOf, routedMessagesIn } from '../../events/delivery-facts.ts'
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

/** Returns the items of a stored event about deliveries. */
export const deliveryItems = (stored: RecordedEvent): LiveItem[] =>
  factsOf(upcast(stored)).map((fact) => {
    const { tenant, webhook, event, type } = fact
    const status = statusOf[type]
    const view = {
      ...{ id: fact.delivery, event_id: fact.message, webhook_id: webhook, event, status },
      ...{ chain: fact.chain, attempt: fact.attempt, at: fact.time, accepted_at: fact.accepted_at },
      ...{ response_code: fact.code, duration_ms: fact.duration_ms, reason: fact.reason, delay_seconds: fact.delay_seconds },
    } satisfies shown.LiveDelivery
    return { tenant, webhook, event, status, json: JSON.stringify(view) }
  })

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
