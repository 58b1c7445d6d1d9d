import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { WebhookId } from '../events/ids.ts'
import { type DeliveryRef, firstAttempt, messageRefOf } from '../events/refs.ts'
import { upcast } from '../events/schema.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { IndexedMessage } from '../projections/message-index.ts'

/** A message as its routing is told by events: its row in the message index, and what it was owed from the first. */
export interface RoutedMessage extends IndexedMessage {
  readonly owed: readonly DeliveryRef[]
}
type MessageRouted = Extract<RecordedDeliveryEvent, { type: 'MessageRouted' }>

const isRouted = (event: RecordedEvent): event is MessageRouted => event.type === 'MessageRouted'
const partsAtOnce = 20

/**
 * The messages whose routing ends among these events: that of a large fan-out is told in parts, and a message of which one
 * is missing was not done, and comes again from the bus. The last part is appended after all others of its message.
 */
export async function routedIn(store: Pick<EventStore, 'read'>, events: readonly RecordedEvent[]): Promise<RoutedMessage[]> {
  const found = new Map<string, RoutedMessage>()
  for (const event of events) {
    if (!isRouted(event) || event.data.part + 1 < event.data.parts || found.has(event.data.place)) continue
    const webhooks = await allWebhooks(store, event)
    if (webhooks !== null) found.set(event.data.place, messageOf(event, webhooks))
  }
  return [...found.values()]
}

/** The webhooks of all parts, in their order, or null where one is not there (any more). */
async function allWebhooks(store: Pick<EventStore, 'read'>, last: MessageRouted): Promise<WebhookId[] | null> {
  const { place, parts } = last.data
  const found = new Map([[last.data.part, last.data.webhooks]])
  for (let from = last.revision - 1; found.size < parts && from >= 0; ) {
    const events = await store.read(last.stream, { from, limit: partsAtOnce, backwards: true })
    const oldest = events.at(-1)
    if (oldest === undefined) return null
    for (const event of events.filter(isRouted).map(upcast)) if (event.data.place === place) found.set(event.data.part, event.data.webhooks)
    from = oldest.revision - 1
  }
  if (found.size < parts) return null
  return [...found].sort(([a], [b]) => a - b).flatMap(([, webhooks]) => webhooks)
}

function messageOf({ data, metadata }: MessageRouted, webhooks: readonly WebhookId[]): RoutedMessage {
  const row: IndexedMessage = { ...messageRefOf(data), webhooks, matched_at: data.matched_at as Checkpoint }
  return { ...row, owed: webhooks.map((webhook) => firstAttempt(row, webhook, metadata.$correlationId)) }
}
