import { endsChain, type RecordedDeliveryEvent } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { DeliveryId } from '../events/ids.ts'
import { type DeliveryRef, deliveryRefOf, isLater } from '../events/refs.ts'
import { deliveryRefColumns, deliveryRefs } from '../lib/ref-columns.ts'
import { type Sql, sqlText } from '../lib/sql.ts'

const refColumns = sqlText(deliveryRefColumns)
type Scheduling = Extract<RecordedDeliveryEvent, { data: { delivery: DeliveryId } }>

/** The attempt that follows a failed one, or that a replay asks for. */
const nextAttempt = ({ type, data, metadata }: Scheduling): DeliveryRef => ({
  ...deliveryRefOf({ ...data, correlation_id: metadata.$correlationId }),
  attempt: type === 'DeliveryFailed' ? data.attempt + 1 : 1,
})

/**
 * The retry manager: turns attempt events into rows of `scheduled_deliveries`, in the transaction that moves the
 * checkpoint and after the delivery log has the same events.
 *
 * A failed attempt or a replay: a row for the next attempt, overwritten only by a higher (chain, attempt). An end: rows
 * of chains up to its own go. Due is this Postgres's now + the delay, so that no clock's skew fires anything early.
 * Answers whether anything is due within a second, so that who looks for due rows need not wait for its next look.
 */
export async function scheduleRetries(sql: Sql, events: readonly RecordedEvent[]): Promise<boolean> {
  const last = new Map<DeliveryId, Scheduling>()
  const ends = new Map<DeliveryId, number>()
  for (const event of events as readonly RecordedDeliveryEvent[]) {
    if (event.type === 'MessageRouted' || event.type === 'MessageRejected') continue
    const { delivery, chain } = event.data
    if (event.type === 'DeliveryFailed' || event.type === 'DeliveryReplayed') {
      const known = last.get(delivery)
      if (known === undefined || isLater(event.data, known.data)) last.set(delivery, event)
    } else if (endsChain(event.type)) ends.set(delivery, Math.max(chain, ends.get(delivery) ?? 0))
  }
  const rows = [...last.values()]
    // An end of the same batch stands above what failed before it in its chain, or in an earlier one.
    .filter((event) => (ends.get(event.data.delivery) ?? 0) < event.data.chain)
    .sort((a, b) => (a.data.delivery < b.data.delivery ? -1 : 1))
  const over = [...ends.keys()].sort()
  // Two statements on the same rows as those of others, which lock theirs in the order of ids: all of them first.
  if (rows.length > 0 && over.length > 0)
    await sql`select delivery from scheduled_deliveries where delivery = any (${[...rows.map((e) => e.data.delivery), ...over]}::uuid[])
      order by delivery for update`
  if (rows.length > 0)
    await sql`insert into scheduled_deliveries as mine (${refColumns}, due_at)
      select ${refColumns}, clock_timestamp() + delay_seconds * interval '1 second'
      from unnest(${deliveryRefs(rows.map(nextAttempt))}, ${rows.map((e) => (e.type === 'DeliveryFailed' ? e.data.delay_seconds : 0))}::double precision[])
        as next (${refColumns}, delay_seconds)
      on conflict (delivery) do update set chain = excluded.chain, attempt = excluded.attempt, due_at = excluded.due_at,
        parked_at = null, claimed_by = null, claimed_until = null
      where (mine.chain, mine.attempt) < (excluded.chain, excluded.attempt)`
  if (over.length > 0)
    await sql`delete from scheduled_deliveries mine
      using unnest(${over}::uuid[], ${over.map((delivery) => ends.get(delivery))}::int[]) as over (delivery, chain)
      where mine.delivery = over.delivery and mine.chain <= over.chain`
  return rows.some((event) => event.type === 'DeliveryReplayed' || (event.type === 'DeliveryFailed' && event.data.delay_seconds < 1))
}
