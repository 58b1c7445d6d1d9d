import type { DeliveryEvents } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { EventForged, type EventMacs } from '../lib/event-macs.ts'
import type { Log } from '../lib/log.ts'
import type { Delivery, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import { findAttemptEvent } from '../ports/find-event.ts'

export interface ForgedEndDeps {
  readonly store: Pick<EventStore, 'read'>
  readonly deliveryLog: Pick<DeliveryReads, 'attempts'>
  readonly macs: Pick<EventMacs, 'faultOf'>
  readonly log: Log
}
/** The most pages of 500 events that are read to find an event. */
const maxPages = 12

/**
 * Returns whether a delivery that has a row seems to have ended by an event that Kolbak has not written. Only a first success needs this check: if the
 * history is read from the event store, it has first successes that the projection has not checked. Every other end has passed the projection. A first
 * success of a delivery with a row is rare, because it comes only after a crash or a wait for a slot.
 */
export async function isEndForged(deps: ForgedEndDeps, state: Delivery): Promise<boolean> {
  const { store, deliveryLog, macs, log } = deps
  if (state.type !== 'DeliverySucceeded' || state.chain !== 1 || state.attempt !== 1) return false
  const [attempts = []] = await deliveryLog.attempts([state])
  for (const attempt of attempts.filter(({ type, chain, attempt: number }) => type === state.type && chain === 1 && number === 1)) {
    const event: RecordedEvent<string, DeliveryEvents['DeliverySucceeded']> | null = await findAttemptEvent(
      store,
      state.webhook,
      attempt,
      maxPages,
    )
    const fault = event === null ? null : macs.faultOf(event)
    if (event === null || fault === null) return false
    log.error({ error: new EventForged(event, fault), delivery: state.delivery }, 'delivery.end_forged')
  }
  return attempts.length > 0
}
