import type { DeliveryData, FactType } from '../../src/events/delivery.ts'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { StreamName } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import type { TestApi, TestClient } from './api.ts'
import { type RoutedDelivery, route } from './routed.ts'

let next = 0

/** Creates deliveries of a webhook that have ended with an event of this type. By default they are dead letters. */
export async function endedDeliveries(
  api: TestApi,
  options: { as: TestClient; webhook: string; count?: number; type?: FactType; event?: string; code?: number },
): Promise<RoutedDelivery[]> {
  const { as, webhook, count = 1, type = 'DeliveryDeadLettered', event = 'order.created' } = options
  const { code = type === 'DeliverySucceeded' ? 200 : 500 } = options
  const deliveries: RoutedDelivery[] = []
  for (let i = 0; i < count; i++) {
    await api.call('POST', '/v1/events', { as, body: { id: `ended_${next++}`, event, payload: { n: i } } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    const [delivery] = await route(api, produced, [webhook])
    if (delivery === undefined) throw new Error('nothing was routed')
    await delivery.record({ type, code, reason: code === 200 ? null : `http_${code}`, duration_ms: 1 })
    deliveries.push(delivery)
  }
  return deliveries
}

/** Returns the events that began the webhook's chains today. */
export async function chainsBegun(api: TestApi, webhook: string): Promise<RecordedEvent<'DeliveryReplayed', DeliveryData>[]> {
  const today = new Date().toISOString().slice(0, 10).replaceAll('-', '')
  const events = await (api.deps.store as EventStore).read(`attempts-${webhook}-${today}` as StreamName)
  return events.filter((event): event is RecordedEvent<'DeliveryReplayed', DeliveryData> => event.type === 'DeliveryReplayed')
}
