import type { Pool } from 'pg'
import type { DeliveryId, WebhookId } from '../events/ids.ts'
import { type DeliveryRef, deliveryRefOf, isLater } from '../events/refs.ts'
import { createGroupCommit, type GroupCommit, isDataError } from '../lib/group-commit.ts'
import { deliveryRefArrays, deliveryRefColumns, deliveryRefParameters } from '../lib/ref-columns.ts'

/** A row of `scheduled_deliveries` that this process has claimed. */
export interface ClaimedRow extends DeliveryRef {
  /** RFC 3339 time of parking, or null for a row with a due time. */
  readonly parked_at: string | null
  /** Whether another claim of the row ran out, for example because its process was killed. Its request may have been sent already. */
  readonly was_claimed: boolean
}
/** The number of rows to claim of one webhook. */
export interface Allotment {
  readonly webhook: WebhookId
  readonly count: number
}
/** A webhook with rows that are due or parked. */
export interface WaitingWebhook {
  readonly webhook: WebhookId
  /** Whether a row of the webhook can be claimed now. */
  readonly claimable: boolean
  /** Whether a row of the webhook is parked. */
  readonly parked: boolean
}

/** The table `scheduled_deliveries` has one row for each delivery with a next attempt. A dispatcher claims a row for a minute. */
export interface Schedule {
  /** Parks a delivery, without a due time. A row for the same or a later attempt stays as it is. */
  park(ref: DeliveryRef): Promise<void>
  /** Returns the webhooks with due or parked rows, in the order of their ids, beginning after the id `after`. */
  waiting(after: string, limit: number): Promise<WaitingWebhook[]>
  /** Claims at most `count` due rows and `count` parked rows of each webhook, the oldest first. Skips rows that another process is claiming. */
  claim(allotments: readonly Allotment[]): Promise<ClaimedRow[]>
  /** Returns the milliseconds until the first row that is not due yet becomes due, or null if there is no such row. */
  untilNextDue(): Promise<number | null>
  /** Returns those of the deliveries that have a row. */
  existing(deliveries: readonly DeliveryId[]): Promise<Set<DeliveryId>>
  /** Renews claims. Returns for each row whether it is still claimed by this process. */
  renew(refs: readonly DeliveryRef[]): Promise<boolean[]>
  /** Releases claims before they run out. */
  release(refs: readonly DeliveryRef[]): Promise<void>
  /** Deletes the row of an attempt that is recorded or over. A row for a later attempt stays. */
  done(ref: DeliveryRef): Promise<void>
}

/** @param options `onParked` is called soon after rows were parked */
export function createSchedule(options: { pool: Pool; owner: string; claimMs: number; onParked?: () => void }): Schedule {
  const { pool, owner, claimMs, onParked = () => {} } = options
  let isToTell = false
  const tellParked = () => {
    if (isToTell) return
    isToTell = true
    setTimeout(() => {
      isToTell = false
      onParked()
    }, tellParkedMs)
  }
  const parking = inGroups(async (refs) => {
    await pool.query({ ...parkStatement, values: deliveryRefArrays(latestOfEach(refs)) })
    tellParked()
  })
  const finishing = inGroups(async (refs) => {
    await pool.query({ ...doneStatement, values: keysOf(refs.toSorted(byDelivery)) })
  })
  const releasing = inGroups(async (refs) => {
    await pool.query({ ...releaseStatement, values: [...keysOf(refs.toSorted(byDelivery)), owner] })
  })
  return {
    park: (ref) => parking.add(ref),
    done: (ref) => finishing.add(ref),
    async release(refs) {
      await Promise.all(refs.map((ref) => releasing.add(ref)))
    },
    async waiting(after, limit) {
      const { rows } = await pool.query<WaitingWebhook>({ ...waitingStatement, values: [after, limit] })
      return rows
    },
    async untilNextDue() {
      const { rows } = await pool.query<{ ms: number | null }>(nextDueStatement)
      return rows[0]?.ms ?? null
    },
    async claim(allotments) {
      if (allotments.length === 0) return []
      const counts = literal(allotments.map(({ count }) => count))
      const values = [allotments.map(({ webhook }) => webhook), counts, owner, claimMs]
      const { rows } = await pool.query<ClaimedRow>({ ...claimStatement, values })
      return rows.map((row) => ({ ...deliveryRefOf(row), parked_at: row.parked_at, was_claimed: row.was_claimed }))
    },
    async existing(deliveries) {
      const { rows } = await pool.query<{ delivery: DeliveryId }>({ ...existingStatement, values: [deliveries] })
      return new Set(rows.map((row) => row.delivery))
    },
    async renew(refs) {
      if (refs.length === 0) return []
      const values = [...keysOf(refs.toSorted(byDelivery)), owner, claimMs]
      const { rows } = await pool.query<{ delivery: DeliveryId }>({ ...renewStatement, values })
      const renewed = new Set(rows.map((row) => row.delivery))
      return refs.map(({ delivery }) => renewed.has(delivery))
    },
  }
}

/** Milliseconds for which parkings are gathered before `onParked` is called. */
const tellParkedMs = 200

/** All statements write rows in the order of their ids, because statements that lock rows in different orders deadlock. */
const byDelivery = (a: DeliveryRef, b: DeliveryRef) => (a.delivery < b.delivery ? -1 : 1)
/** Returns the latest attempt of each delivery, because one statement cannot upsert a row twice. */
function latestOfEach(refs: readonly DeliveryRef[]): DeliveryRef[] {
  const latest = new Map<DeliveryId, DeliveryRef>()
  for (const ref of refs) {
    const latestRef = latest.get(ref.delivery)
    if (latestRef === undefined || isLater(ref, latestRef)) latest.set(ref.delivery, ref)
  }
  return [...latest.values()].sort(byDelivery)
}
const inGroups = (write: (refs: readonly DeliveryRef[]) => Promise<void>): GroupCommit<DeliveryRef, void> =>
  createGroupCommit({
    isItemFault: isDataError,
    async write(refs) {
      await write(refs)
      return refs.map(() => undefined)
    },
  })
const literal = (numbers: readonly number[]) => `{${numbers.join(',')}}`
const keysOf = (refs: readonly DeliveryRef[]) => [
  refs.map((ref) => ref.delivery),
  literal(refs.map((ref) => ref.chain)),
  literal(refs.map((ref) => ref.attempt)),
]

const parkStatement = {
  name: 'schedule-park',
  text: `insert into scheduled_deliveries as stored (${deliveryRefColumns}, parked_at)
           select *, clock_timestamp() from unnest(${deliveryRefParameters(1)})
           on conflict (delivery) do update set chain = excluded.chain, attempt = excluded.attempt, due_at = null,
             parked_at = excluded.parked_at, claimed_by = null, claimed_until = null
           where (stored.chain, stored.attempt) < (excluded.chain, excluded.attempt)`,
}

const doneStatement = {
  name: 'schedule-done',
  text: `delete from scheduled_deliveries stored using unnest($1::uuid[], $2::int[], $3::int[]) as over (delivery, chain, attempt)
           where stored.delivery = over.delivery and (stored.chain, stored.attempt) <= (over.chain, over.attempt)`,
}

/** SQL for the rows with these keys ($1 to $3) that the owner ($4) has claimed. */
const ownClaims = `from unnest($1::uuid[], $2::int[], $3::int[]) as key (delivery, chain, attempt)
           where stored.delivery = key.delivery and stored.chain = key.chain and stored.attempt = key.attempt and stored.claimed_by = $4`

const releaseStatement = {
  name: 'schedule-release',
  text: `update scheduled_deliveries stored set claimed_by = null, claimed_until = null ${ownClaims}`,
}

const renewStatement = {
  name: 'schedule-renew',
  text: `update scheduled_deliveries stored set claimed_until = clock_timestamp() + $5 * interval '1 ms' ${ownClaims} returning stored.delivery`,
}

const existingStatement = {
  name: 'schedule-existing',
  text: 'select delivery from scheduled_deliveries where delivery = any ($1)',
}

/**
 * Returns the SQL of a table of the webhooks that have due rows, or parked rows, by a loose index scan. The scan steps from webhook to webhook, and
 * does not read all rows of a webhook. The last row of the table is null. @param after SQL of the id after which the scan begins
 */
const webhooksWith = (name: 'due' | 'parked', after: string): string => {
  const condition = `due_at is ${name === 'due' ? 'not null' : 'null'}`
  return `${name} as (
             (select webhook from scheduled_deliveries where ${condition} and webhook > ${after} order by webhook limit 1)
             union all
             select (select s.webhook from scheduled_deliveries s where s.${condition} and s.webhook > ${name}.webhook
                     order by s.webhook limit 1) from ${name} where ${name}.webhook is not null
           )`
}

const waitingStatement = {
  name: 'schedule-waiting',
  text: `with recursive ${webhooksWith('due', '$1')}, ${webhooksWith('parked', '$1')}
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
         ) waiting group by webhook order by webhook limit $2`,
}

const nextDueStatement = {
  name: 'schedule-next-due',
  text: `with recursive ${webhooksWith('due', "''")}
         select (extract(epoch from min(next.due_at) - clock_timestamp()) * 1000)::double precision as ms
         from due, lateral (select due_at from scheduled_deliveries s where s.webhook = due.webhook and s.due_at > clock_timestamp()
                            order by s.due_at limit 1) next`,
}

/**
 * The statement updates rows by ctid. Otherwise the planner, which does not know the limits, would join with the whole table (25 ms at 25,000 rows,
 * decision 29).
 */
const claimStatement = {
  name: 'schedule-claim',
  text: `with found as (
           select d.* from unnest($1::text[], $2::int[]) as allotment (webhook, n),
           lateral (
             select ctid, delivery, claimed_by is not null as was_claimed from scheduled_deliveries s
             where s.webhook = allotment.webhook and s.due_at <= clock_timestamp()
               and (s.claimed_until is null or s.claimed_until < clock_timestamp())
             order by s.due_at limit allotment.n for update skip locked
           ) d
           union all
           select d.* from unnest($1::text[], $2::int[]) as allotment (webhook, n),
           lateral (
             select ctid, delivery, claimed_by is not null as was_claimed from scheduled_deliveries s
             where s.webhook = allotment.webhook and s.due_at is null
               and (s.claimed_until is null or s.claimed_until < clock_timestamp())
             order by s.parked_at limit allotment.n for update skip locked
           ) d
         ), claimed as (
           update scheduled_deliveries stored
           set claimed_by = $3, claimed_until = clock_timestamp() + $4 * interval '1 ms'
           where stored.ctid = any (array(select ctid from found))
           returning ${deliveryRefColumns}, due_at, parked_at
         )
         select ${deliveryRefColumns}, parked_at, was_claimed from claimed join found using (delivery) order by due_at, parked_at`,
}
