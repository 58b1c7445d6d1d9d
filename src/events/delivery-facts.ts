import type { FactType, RecordedDeliveryEvent } from './delivery.ts'
import type { NewEvent, RecordedEvent } from './envelope.ts'
import type { EventId, TenantId, WebhookId } from './ids.ts'
import { type DeliveryRef, deliveryRefOf, firstAttempt, type MessageRef, messageRefOf } from './refs.ts'

/**
 * One stored event as a fact about one delivery. A MessageRouted is one fact for each of its webhooks. A MessagesRouted is the same for each of its
 * messages, and these facts have the type MessageRouted.
 */
export interface DeliveryFact extends DeliveryRef {
  readonly type: FactType
  readonly event_id: EventId
  /** The event's time. */
  readonly time: string
  readonly code: number | null
  readonly duration_ms: number | null
  readonly reason: string | null
  /** A sentence that says what was wrong with the attempt, or null. */
  readonly reason_detail: string | null
  /** The beginning of the receiver's response as sealed text, or null. */
  readonly response: string | null
  /** Seconds until the next attempt, or null if the type is not DeliveryFailed. */
  readonly delay_seconds: number | null
  /** Set when the event alone is the history of its delivery (`RecordedEvent.in_history`). */
  readonly in_history?: true
}
const noOutcome = { code: null, duration_ms: null, reason: null, reason_detail: null, response: null, delay_seconds: null }

/** Returns the facts of an event: one for each webhook of a routed message, none for a rejected message, and otherwise one. */
export function factsOf(recorded: NewEvent & Pick<RecordedEvent, 'in_history'>): DeliveryFact[] {
  const event = recorded as RecordedDeliveryEvent
  if (event.type === 'MessageRejected') return []
  const correlation_id = event.metadata.$correlationId
  const common = { ...noOutcome, event_id: event.id, time: event.metadata.time }
  if (event.type === 'MessageRouted' || event.type === 'MessagesRouted')
    return routedMessagesIn(event).flatMap(({ message, webhooks, correlation_id }) =>
      webhooks.map((webhook) => ({ ...firstAttempt(message, webhook, correlation_id), attempt: 0, ...common, type: 'MessageRouted' })),
    )
  const fact = { ...deliveryRefOf({ ...event.data, correlation_id }), ...common, type: event.type }
  if (event.type === 'DeliveryDiscarded') return [{ ...fact, reason: event.data.reason }]
  if (event.type === 'DeliveryReplayed') return [fact]
  const { code, duration_ms, reason, reason_detail = null, response } = event.data
  const delay_seconds = event.type === 'DeliveryFailed' ? event.data.delay_seconds : null
  const outcome = { code, duration_ms, reason, reason_detail, response, delay_seconds }
  return [{ ...fact, ...outcome, ...(event.in_history === true ? { in_history: true } : {}) }]
}

type Routed = Extract<RecordedDeliveryEvent, { type: 'MessageRouted' | 'MessagesRouted' }>
/** Returns the messages of an event of routing. A MessageRouted may have only a part of the webhooks of its message. */
export function routedMessagesIn({ data, metadata }: Pick<Routed, 'data' | 'metadata'>): {
  readonly message: MessageRef
  readonly webhooks: readonly WebhookId[]
  readonly correlation_id: string
}[] {
  if (!('messages' in data)) return [{ message: messageRefOf(data), webhooks: data.webhooks, correlation_id: metadata.$correlationId }]
  const tenant = metadata.tenant as TenantId
  return data.messages.map(({ webhooks, correlation_id, ...message }) => ({
    message: messageRefOf({ ...message, tenant }),
    webhooks,
    correlation_id,
  }))
}
