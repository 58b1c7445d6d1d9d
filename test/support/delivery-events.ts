import { randomUUID } from 'node:crypto'
import type { DeliveryData, DeliveryEvents, Outcome } from '../../src/events/delivery.ts'
import { deliveryId } from '../../src/events/delivery-id.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import type { MessageRef } from '../../src/events/refs.ts'
import { eventTypes } from '../../src/events/schema.ts'
import { attemptsStream, routingStream, type StreamName } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'

/** The fields that identify a delivery in the tests. */
export interface TestDelivery {
  readonly tenant: TenantId
  readonly webhook: WebhookId
  readonly delivery: DeliveryId
  readonly message: MessageRef
}

/** Appends the events that routing and dispatching would append, so that a test quickly has a history of any size. */
export function deliveryEvents(store: Pick<EventStore, 'append'>, tenant: TenantId) {
  let messages = 0
  let pending = new Map<StreamName, NewEvent[]>()
  const add = <T extends keyof DeliveryEvents>(stream: StreamName, type: T, data: DeliveryEvents[T]) => {
    const time = new Date().toISOString()
    const metadata = {
      schema: eventTypes[type].schema,
      actor: 'system:test',
      tenant,
      time,
      $correlationId: 'test',
      $causationId: null,
    } as const
    const event = { id: randomUUID() as EventId, type, data, metadata }
    pending.set(stream, [...(pending.get(stream) ?? []), event])
  }
  const facts = ({ message, webhook, delivery }: TestDelivery, chain: number, attempt: number): DeliveryData => ({
    ...message,
    ...{ webhook, delivery, chain, attempt, webhook_revision: 0 },
  })
  return {
    /** Adds a message with a delivery to each of these webhooks. */
    routed(webhooks: readonly WebhookId[]): TestDelivery[] {
      const n = messages++
      const accepted_at = new Date().toISOString()
      const message: MessageRef = {
        ...{ tenant, message: `m${n}` as MessageId, place: `test/0/${n}/0` as Place, fingerprint: 'f'.repeat(64) },
        ...{ event: 'order.created', accepted_at },
      }
      const routing = { source: null, event_time: null, webhooks: [...webhooks], part: 0, parts: 1, matched_at: '0' }
      add(routingStream(tenant, accepted_at), 'MessageRouted', { ...message, ...routing })
      return webhooks.map((webhook) => ({
        tenant,
        webhook,
        message,
        delivery: deliveryId(tenant, message.message, message.place, webhook),
      }))
    },
    attempted(
      delivery: TestDelivery,
      type: 'DeliverySucceeded' | 'DeliveryFailed' | 'DeliveryDeadLettered',
      { chain = 1, attempt = 1, response = null }: { chain?: number; attempt?: number; response?: string | null } = {},
    ) {
      const isSuccess = type === 'DeliverySucceeded'
      const outcome: Outcome = {
        code: isSuccess ? 204 : 500,
        duration_ms: 1.5,
        address: null,
        reason: isSuccess ? null : 'status',
        response,
      }
      add(attemptsStream(delivery.webhook, delivery.message.accepted_at), type, {
        ...facts(delivery, chain, attempt),
        ...outcome,
        delay_seconds: 300,
      })
    },
    replayed(delivery: TestDelivery, chain: number) {
      add(attemptsStream(delivery.webhook, delivery.message.accepted_at), 'DeliveryReplayed', facts(delivery, chain, 0))
    },
    /** Appends all added events, stream by stream. */
    async flush() {
      const streams = pending
      pending = new Map()
      for (const [stream, events] of streams)
        for (let i = 0; i < events.length; i += 500) await store.append(stream, events.slice(i, i + 500), 'any')
    },
  }
}
