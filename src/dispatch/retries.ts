import { endsChain, type RecordedDeliveryEvent } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { DeliveryId } from '../events/ids.ts'
import { type DeliveryRef, deliveryRefOf, isLater } from '../events/refs.ts'
import { longestRestMs } from '../lib/notices.ts'
import { deliveryRefColumns, deliveryRefs } from '../lib/ref-columns.ts'
import { type Sql, sqlText } from '../lib/sql.ts'

const refColumns = sqlText(deliveryRefColumns)
type Scheduling = Extract<RecordedDeliveryEvent, { data: { delivery: DeliveryId } }>

/** Returns the next attempt after a failed attempt or a replay. */
const nextAttempt = ({ type, data, metadata }: Scheduling): DeliveryRef => ({
  ...deliveryRefOf({ ...data, correlation_id: metadata.$correlationId }),
  attempt: type === 'DeliveryFailed' ? data.attempt + 1 : 1,
})
const delayOf = (event: Scheduling): number => (event.type === 'DeliveryFailed' ? event.data.delay_seconds : 0)

/**
 * Turns the events of attempts into rows of `scheduled_deliveries`. It runs in the transaction that moves the checkpoint, after the delivery log has
 * the same events.
 *
 * A failed attempt or a replay writes the row of the next attempt, unless the stored row is for that attempt or a later one. The end of a chain
 * deletes the rows of that chain and of earlier ones. A due time is the time of Postgres plus the delay, because the clocks of other machines may be
 * wrong.
 * @returns whether a row will be due before the dispatcher's next pass, so that the dispatcher must be woken
 */
export async function scheduleRetries(sql: Sql, events: readonly RecordedEvent[]): Promise<boolean> {
  const { next, ended } = decide(events as readonly RecordedDeliveryEvent[])
  const endedDeliveries = [...ended.keys()].sort()
  // Each statement on this table locks its rows in the order of their ids, to avoid deadlocks. Two statements in one transaction would break that
  // order, so all their rows are locked first.
  if (next.length > 0 && endedDeliveries.length > 0) {
    const deliveries = [...next.map(({ data }) => data.delivery), ...endedDeliveries]
    await sql`/* retries-lock */ select delivery from scheduled_deliveries where delivery = any (${deliveries}::uuid[]) order by delivery for update`
  }
  if (next.length > 0)
    await sql`/* retries-schedule */ insert into scheduled_deliveries as stored (${refColumns}, due_at)
      select ${refColumns}, clock_timestamp() + delay_seconds * interval '1 second'
      from unnest(${deliveryRefs(next.map(nextAttempt))}, ${next.map(delayOf)}::double precision[]) as next (${refColumns}, delay_seconds)
      on conflict (delivery) do update set chain = excluded.chain, attempt = excluded.attempt, due_at = excluded.due_at,
        parked_at = null, claimed_by = null, claimed_until = null
      where (stored.chain, stored.attempt) < (excluded.chain, excluded.attempt)`
  if (endedDeliveries.length > 0)
    await sql`/* retries-end */ delete from scheduled_deliveries stored
      using unnest(${endedDeliveries}::uuid[], ${endedDeliveries.map((delivery) => ended.get(delivery))}::int[]) as ended (delivery, chain)
      where stored.delivery = ended.delivery and stored.chain <= ended.chain`
  return next.some((event) => delayOf(event) * 1_000 < longestRestMs)
}

/** Returns for each delivery the last event that asks for an attempt (in the order of ids), and the last chain that has ended. */
function decide(events: readonly RecordedDeliveryEvent[]): { next: Scheduling[]; ended: Map<DeliveryId, number> } {
  const last = new Map<DeliveryId, Scheduling>()
  const ended = new Map<DeliveryId, number>()
  for (const event of events) {
    if (event.type === 'MessageRouted' || event.type === 'MessagesRouted' || event.type === 'MessageRejected') continue
    const { delivery, chain } = event.data
    if (event.type === 'DeliveryFailed' || event.type === 'DeliveryReplayed') {
      const lastEvent = last.get(delivery)
      if (lastEvent === undefined || isLater(event.data, lastEvent.data)) last.set(delivery, event)
    } else if (endsChain(event.type)) ended.set(delivery, Math.max(chain, ended.get(delivery) ?? 0))
  }
  const next = [...last.values()]
    // An end in the same batch outweighs failures of its chain and of earlier ones.
    .filter(({ data }) => (ended.get(data.delivery) ?? 0) < data.chain)
    .sort((a, b) => (a.data.delivery < b.data.delivery ? -1 : 1))
  return { next, ended }
}
