import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { type DeactivationDeps, deactivate } from './deactivation.ts'

const goneStatus = 410
type DeadLettered = Extract<RecordedDeliveryEvent, { type: 'DeliveryDeadLettered' }>
const isGone = (event: RecordedEvent): event is DeadLettered & { data: { webhook_revision: number } } =>
  event.type === 'DeliveryDeadLettered' &&
  (event as DeadLettered).data.code === goneStatus &&
  (event as DeadLettered).data.webhook_revision !== null

/** Deactivates webhooks whose receivers responded with 410 Gone, unless the webhook has changed since. */
export async function deactivateGone(deps: DeactivationDeps, events: readonly RecordedEvent[]): Promise<void> {
  for (const event of events.filter(isGone)) await deactivate(deps, event, 'gone', event.data.webhook, event.data.webhook_revision) // mutation: stale-gone
}
