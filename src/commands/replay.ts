import type { DeliveryData } from '../events/delivery.ts'
import { replayedId } from '../events/delivery-id.ts'
import type { Metadata, NewEvent } from '../events/envelope.ts'
import { deliveryEventRefOf } from '../events/refs.ts'
import { sealEvent } from '../events/sealed-fields.ts'
import { attemptsStream, type StreamName } from '../events/streams.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Delivery } from '../ports/delivery-log.ts'
import type { Caller } from './caller.ts'

/** Kolbak's own id of the request that asked for the replay, and the job that carries it out, if there is one. */
type ReplayCause = Pick<Metadata, 'request_id' | 'job'>

/**
 * Returns the event that begins a chain of a delivery, usually the next one. The chain before it need not have ended. The id of the event is derived
 * from the delivery and the chain, so two requests for the same chain append one event. The event is appended with the expected revision `any`.
 */
export function replay(
  delivery: Delivery,
  request: {
    readonly chain: number
    readonly caller: Pick<Caller, 'actor'>
    readonly webhookRevision: number
    /** RFC 3339 time. */
    readonly now: string
    readonly cause?: ReplayCause
  },
  { replayMacOf }: Pick<EventMacs, 'replayMacOf'>,
): { stream: StreamName; event: NewEvent<'DeliveryReplayed', DeliveryData> } {
  const { chain, caller, webhookRevision, now, cause } = request
  const metadata = {
    actor: caller.actor,
    tenant: delivery.tenant,
    time: now,
    $correlationId: delivery.correlation_id,
    $causationId: null,
    ...cause,
  }
  const data: DeliveryData = { ...deliveryEventRefOf(delivery), webhook_revision: webhookRevision, chain, attempt: 0 }
  const stream = attemptsStream(delivery.webhook, now)
  const event = sealEvent(null, stream, { id: replayedId(delivery.delivery, chain), type: 'DeliveryReplayed' as const, data, metadata })
  return { stream, event: { ...event, metadata: { ...event.metadata, mac: replayMacOf({ ...event, stream }) } } }
}
