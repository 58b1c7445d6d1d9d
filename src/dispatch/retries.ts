import { endsChain, type RecordedDeliveryEvent } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { DeliveryId } from '../events/ids.ts'
import type { Sql } from '../lib/sql.ts'
import { isLater } from './owed.ts'

type Scheduling = Extract<RecordedDeliveryEvent, { data: { delivery: DeliveryId } }>

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
    await sql`insert into scheduled_deliveries as mine
        (delivery, tenant, webhook, message, place, fingerprint, event, accepted_at, correlation_id, chain, attempt, due_at)
      select delivery, tenant, webhook, message, place, fingerprint, event, accepted_at, correlation_id, chain, attempt,
        clock_timestamp() + delay * interval '1 second'
      from unnest(${rows.map((e) => e.data.delivery)}::uuid[], ${rows.map((e) => e.data.tenant)}::text[], ${rows.map((e) => e.data.webhook)}::text[],
        ${rows.map((e) => e.data.message)}::text[], ${rows.map((e) => e.data.place)}::text[], ${rows.map((e) => e.data.fingerprint)}::text[],
        ${rows.map((e) => e.data.event)}::text[], ${rows.map((e) => e.data.accepted_at)}::timestamptz[],
        ${rows.map((e) => e.metadata.$correlationId)}::text[], ${rows.map((e) => e.data.chain)}::int[],
        ${rows.map((e) => (e.type === 'DeliveryFailed' ? e.data.attempt + 1 : 1))}::int[],
        ${rows.map((e) => (e.type === 'DeliveryFailed' ? e.data.delay_seconds : 0))}::double precision[])
        as next (delivery, tenant, webhook, message, place, fingerprint, event, accepted_at, correlation_id, chain, attempt, delay)
      on conflict (delivery) do update set chain = excluded.chain, attempt = excluded.attempt, due_at = excluded.due_at,
        parked_at = null, claimed_by = null, claimed_until = null
      where (mine.chain, mine.attempt) < (excluded.chain, excluded.attempt)`
  if (over.length > 0)
    await sql`delete from scheduled_deliveries mine
      using unnest(${over}::uuid[], ${over.map((delivery) => ends.get(delivery))}::int[]) as over (delivery, chain)
      where mine.delivery = over.delivery and mine.chain <= over.chain`
  return rows.some((event) => event.type === 'DeliveryReplayed' || (event.type === 'DeliveryFailed' && event.data.delay_seconds < 1))
}
