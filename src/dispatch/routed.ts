import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import { routedMessagesIn } from '../events/delivery-facts.ts'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { WebhookId } from '../events/ids.ts'
import { type DeliveryRef, firstAttempt, type MessageRef, messageRefOf } from '../events/refs.ts'
import { upcast } from '../events/schema.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { IndexedMessage } from '../projections/message-index.ts'

/** A message as the events of its routing describe it: its row of the message index, and the first attempts of its deliveries. */
interface MessageWithDeliveries extends IndexedMessage {
  readonly deliveries: readonly DeliveryRef[]
}
type MessagesRouted = Extract<RecordedDeliveryEvent, { type: 'MessagesRouted' }>
type MessageRouted = Extract<RecordedDeliveryEvent, { type: 'MessageRouted' }>

const isRouted = (event: RecordedEvent): event is MessageRouted => event.type === 'MessageRouted'
const eventsPerRead = 20

/**
 * Returns the messages whose routing ends with one of these events: each message of a MessagesRouted, and each message whose last MessageRouted is
 * among the events. A large fan-out has several MessageRouted, its parts, which are appended in order. A message with a missing part is left out,
 * because the bus delivers it again.
 */
export async function routedMessagesOf(
  store: Pick<EventStore, 'read'>,
  events: readonly RecordedEvent[],
): Promise<MessageWithDeliveries[]> {
  const messages = new Map<string, MessageWithDeliveries>()
  for (const event of events) {
    if (event.type === 'MessagesRouted') {
      for (const message of messagesTogether(event as MessagesRouted))
        if (!messages.has(message.place)) messages.set(message.place, message)
      continue
    }
    if (!isRouted(event) || event.data.part + 1 < event.data.parts || messages.has(event.data.place)) continue
    const webhooks = await allWebhooks(store, event)
    if (webhooks !== null) messages.set(event.data.place, messageOf(event, webhooks))
  }
  return [...messages.values()]
}

/** Returns the webhooks of all parts in their order, or null if a part is missing. */
async function allWebhooks(store: Pick<EventStore, 'read'>, last: MessageRouted): Promise<WebhookId[] | null> {
  const { place, parts: count } = last.data
  const parts = new Map([[last.data.part, last.data.webhooks]])
  for (let from = last.revision - 1; parts.size < count && from >= 0; ) {
    const events = await store.read(last.stream, { from, limit: eventsPerRead, backwards: true })
    const oldest = events.at(-1)
    if (oldest === undefined) return null
    for (const event of events.filter(isRouted).map(upcast)) if (event.data.place === place) parts.set(event.data.part, event.data.webhooks)
    from = oldest.revision - 1
  }
  if (parts.size < count) return null
  return [...parts].sort(([a], [b]) => a - b).flatMap(([, webhooks]) => webhooks)
}

const messageOf = ({ data, metadata }: MessageRouted, webhooks: readonly WebhookId[]): MessageWithDeliveries =>
  routedMessage(messageRefOf(data), webhooks, data.matched_at, metadata.$correlationId)
const messagesTogether = (event: MessagesRouted): MessageWithDeliveries[] =>
  routedMessagesIn(event).map(({ message, webhooks, correlation_id }) =>
    routedMessage(message, webhooks, event.data.matched_at, correlation_id),
  )
function routedMessage(
  message: MessageRef,
  webhooks: readonly WebhookId[],
  matched_at: string,
  correlation_id: string,
): MessageWithDeliveries {
  const row: IndexedMessage = { ...message, webhooks, matched_at: matched_at as Checkpoint }
  return { ...row, deliveries: webhooks.map((webhook) => firstAttempt(row, webhook, correlation_id)) }
}
