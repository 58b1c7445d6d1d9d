import type { Pool } from 'pg'
import type { DeliveryId, WebhookId } from '../events/ids.ts'
import { type DeliveryRef, deliveryRefOf, isLater } from '../events/refs.ts'
import { createGroupCommit, type GroupCommit, isDataError } from '../lib/group-commit.ts'
import { deliveryRefArrays, deliveryRefColumns, deliveryRefParameters } from '../lib/ref-columns.ts'

/** A row of `scheduled_deliveries` that this process has claimed. */
export interface Claimed extends DeliveryRef {
  /** When it was parked, or null when it came due. */
  readonly parked_at: string | null
}
/** How many rows of which webhook may be claimed. */
export interface Room {
  readonly webhook: WebhookId
  readonly count: number
}

/** What is owed later: one row a delivery, the attempt that is next. */
export interface Schedule {
  /** Parks a delivery without a due time; a row that is as far or further stays. */
  park(owed: DeliveryRef): Promise<void>
  /** Webhooks that have rows due or parked, after the cursor in the order of ids: whether any of them can be claimed, and whether any is parked. */
  waiting(after: string, limit: number): Promise<{ webhook: WebhookId; claimable: boolean; parked: boolean }[]>
  /** Claims due rows first, then parked ones, oldest first, of each kind up to the webhook's room. Rows claimed by others are passed over. */
  claim(rooms: readonly Room[]): Promise<Claimed[]>
  /** Which of these deliveries have a row. */
  existing(deliveries: readonly DeliveryId[]): Promise<Set<DeliveryId>>
  /** Keeps the claims of what is in hand; answers for each whether it is still ours. */
  renew(owed: readonly DeliveryRef[]): Promise<boolean[]>
  /** Gives claims back, so that they need not run out. */
  release(owed: readonly DeliveryRef[]): Promise<void>
  /** The attempt is recorded (or over): its row goes, unless it is further by now. */
  done(owed: DeliveryRef): Promise<void>
}

const columns = deliveryRefColumns

const byDelivery = (a: DeliveryRef, b: DeliveryRef) => (a.delivery < b.delivery ? -1 : 1)
/** One row a delivery, the latest: a statement cannot upsert a row twice. */
function latest(items: readonly DeliveryRef[]): DeliveryRef[] {
  const found = new Map<DeliveryId, DeliveryRef>()
  for (const item of items) {
    const other = found.get(item.delivery)
    if (other === undefined || isLater(item, other)) found.set(item.delivery, item)
  }
  return [...found.values()].sort(byDelivery)
}
const inGroups = (write: (items: readonly DeliveryRef[]) => Promise<void>): GroupCommit<DeliveryRef, void> =>
  createGroupCommit({
    isPoison: isDataError,
    async write(items) {
      await write(items)
      return items.map(() => undefined)
    },
  })
const literal = (numbers: readonly number[]) => `{${numbers.join(',')}}`

export function createSchedule(options: { pool: Pool; owner: string; claimMs: number }): Schedule {
  const { pool, owner, claimMs } = options

  const parking = inGroups(async (items) => {
    const rows = latest(items)
    await pool.query({
      name: 'schedule-park',
      text: `insert into scheduled_deliveries as mine (${columns}, parked_at)
               select *, clock_timestamp() from unnest(${deliveryRefParameters(1)})
               on conflict (delivery) do update set chain = excluded.chain, attempt = excluded.attempt, due_at = null,
                 parked_at = excluded.parked_at, claimed_by = null, claimed_until = null
               where (mine.chain, mine.attempt) < (excluded.chain, excluded.attempt)`,
      values: deliveryRefArrays(rows),
    })
  })
  const finishing = inGroups(async (items) => {
    const rows = [...items].sort(byDelivery)
    await pool.query({
      name: 'schedule-done',
      text: `delete from scheduled_deliveries mine using unnest($1::uuid[], $2::int[], $3::int[]) as over (delivery, chain, attempt)
               where mine.delivery = over.delivery and (mine.chain, mine.attempt) <= (over.chain, over.attempt)`,
      values: keysOf(rows),
    })
  })
  const releasing = inGroups(async (items) => {
    await pool.query({
      name: 'schedule-release',
      text: `update scheduled_deliveries mine set claimed_by = null, claimed_until = null
               from unnest($1::uuid[], $2::int[], $3::int[]) as held (delivery, chain, attempt) where ${mine}`,
      values: [...keysOf([...items].sort(byDelivery)), owner],
    })
  })
  const keysOf = (rows: readonly DeliveryRef[]) => [
    rows.map((r) => r.delivery),
    literal(rows.map((r) => r.chain)),
    literal(rows.map((r) => r.attempt)),
  ]
  const mine = `mine.delivery = held.delivery and mine.chain = held.chain and mine.attempt = held.attempt and mine.claimed_by = $4`
  return {
    park: (owed) => parking.add(owed),
    done: (owed) => finishing.add(owed),
    async waiting(after, limit) {
      // A loose scan: from webhook to webhook, never through all rows of one of them.
      const { rows } = await pool.query<{ webhook: WebhookId; claimable: boolean; parked: boolean }>({
        name: 'schedule-waiting',
        text: `with recursive
                 due as (
                   (select webhook from scheduled_deliveries where due_at is not null and webhook > $1 order by webhook limit 1)
                   union all
                   select (select s.webhook from scheduled_deliveries s where s.due_at is not null and s.webhook > due.webhook
                           order by s.webhook limit 1) from due where due.webhook is not null
                 ),
                 parked as (
                   (select webhook from scheduled_deliveries where due_at is null and webhook > $1 order by webhook limit 1)
                   union all
                   select (select s.webhook from scheduled_deliveries s where s.due_at is null and s.webhook > parked.webhook
                           order by s.webhook limit 1) from parked where parked.webhook is not null
                 )
               select webhook, bool_or(claimable) as claimable, bool_or(parked) as parked from (
                 (select webhook, false as parked, exists (
                    select from scheduled_deliveries s where s.webhook = due.webhook and s.due_at <= clock_timestamp()
                      and (s.claimed_until is null or s.claimed_until < clock_timestamp())) as claimable
                  from due where webhook is not null and exists (
                    select from scheduled_deliveries s where s.webhook = due.webhook and s.due_at <= clock_timestamp()) limit $2)
                 union all
                 (select webhook, true, exists (
                    select from scheduled_deliveries s where s.webhook = parked.webhook and s.due_at is null
                      and (s.claimed_until is null or s.claimed_until < clock_timestamp()))
                  from parked where webhook is not null limit $2)
               ) found group by webhook order by webhook limit $2`,
        values: [after, limit],
      })
      return rows
    },
    async claim(rooms) {
      if (rooms.length === 0) return []
      const { rows } = await pool.query<Claimed>({
        name: 'schedule-claim',
        // By ctid: no plan can turn that into a join that reads the whole table, as it would, since the limits are unknown to it.
        text: `with found as (
                 select d.ctid from unnest($1::text[], $2::int[]) as room (webhook, n),
                 lateral (
                   select ctid from scheduled_deliveries s
                   where s.webhook = room.webhook and s.due_at <= clock_timestamp()
                     and (s.claimed_until is null or s.claimed_until < clock_timestamp())
                   order by s.due_at limit room.n for update skip locked
                 ) d
                 union all
                 select d.ctid from unnest($1::text[], $2::int[]) as room (webhook, n),
                 lateral (
                   select ctid from scheduled_deliveries s
                   where s.webhook = room.webhook and s.due_at is null
                     and (s.claimed_until is null or s.claimed_until < clock_timestamp())
                   order by s.parked_at limit room.n for update skip locked
                 ) d
               ), claimed as (
               update scheduled_deliveries mine
               set claimed_by = $3, claimed_until = clock_timestamp() + $4 * interval '1 ms'
               where mine.ctid = any (array(select ctid from found))
               returning ${columns}, due_at, parked_at
               )
               select ${columns}, parked_at from claimed order by due_at, parked_at`,
        values: [rooms.map((r) => r.webhook), literal(rooms.map((r) => r.count)), owner, claimMs],
      })
      return rows.map((row) => ({ ...deliveryRefOf(row), parked_at: row.parked_at }))
    },
    async existing(deliveries) {
      const { rows } = await pool.query<{ delivery: DeliveryId }>('select delivery from scheduled_deliveries where delivery = any ($1)', [
        deliveries,
      ])
      return new Set(rows.map((row) => row.delivery))
    },
    async renew(owed) {
      if (owed.length === 0) return []
      const { rows } = await pool.query<{ delivery: DeliveryId }>({
        name: 'schedule-renew',
        text: `update scheduled_deliveries mine set claimed_until = clock_timestamp() + $5 * interval '1 ms'
               from unnest($1::uuid[], $2::int[], $3::int[]) as held (delivery, chain, attempt) where ${mine} returning mine.delivery`,
        values: [...keysOf([...owed].sort(byDelivery)), owner, claimMs],
      })
      const kept = new Set(rows.map((row) => row.delivery))
      return owed.map(({ delivery }) => kept.has(delivery))
    },
    async release(owed) {
      await Promise.all(owed.map((one) => releasing.add(one)))
    },
  }
}
