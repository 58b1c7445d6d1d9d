import { randomUUID } from 'node:crypto'
import type { AttemptEventType } from '../../src/events/delivery.ts'
import type { Checkpoint, RecordedEvent } from '../../src/events/envelope.ts'
import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import { type DeliveryRef, deliveryEventRefOf } from '../../src/events/refs.ts'

/** Returns a delivery that waits for its next attempt. `change` replaces fields. */
export const owed = (change: Partial<DeliveryRef> = {}): DeliveryRef => ({
  tenant: '01ARZ3NDEKTSV4RRFFQ69G5FAV' as TenantId,
  webhook: '01ARZ3NDEKTSV4RRFFQ69G5FAW' as WebhookId,
  message: 'evt_1' as MessageId,
  place: 'bus/0/1/0' as Place,
  fingerprint: 'ab'.repeat(32),
  event: 'order.created',
  accepted_at: '2026-01-01T00:00:00.123Z',
  correlation_id: 'correlation',
  delivery: randomUUID() as DeliveryId,
  chain: 1,
  attempt: 1,
  ...change,
})

/** Returns the event of an attempt as it is read from the store. */
export const attemptEvent = (ref: DeliveryRef, type: AttemptEventType, fields: object = {}): RecordedEvent => {
  const { tenant, webhook } = ref
  return {
    id: randomUUID() as EventId,
    type,
    stream: `attempts-${webhook}-20260101`,
    revision: 0,
    position: '1' as Checkpoint,
    metadata: {
      schema: 1,
      actor: 'system:dispatcher',
      tenant,
      time: '2026-01-01T00:00:01.000Z',
      $correlationId: ref.correlation_id,
      $causationId: null,
    },
    data: { ...deliveryEventRefOf(ref), webhook_revision: 0, ...fields },
  }
}
