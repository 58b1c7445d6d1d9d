import { createHash } from 'node:crypto'
import type { Pool, QueryResultRow } from 'pg'
import { isListedAttempt } from '../../events/delivery.ts'
import { deliveryRefFields } from '../../events/refs.ts'
import { isUuid } from '../../events/uuid.ts'
import { msPerDay } from '../../lib/days.ts'
import {
  type Attempt,
  type Delivery,
  type DeliveryKey,
  type DeliveryReads,
  type ListedDelivery,
  oldestFirst,
} from '../../ports/delivery-log.ts'

/** The most attempts of one delivery that are returned. They are the newest. */
const maxAttempts = 100

const deliveryColumns = [...deliveryRefFields, 'type', 'status', 'time', 'code', 'reason', 'next_attempt_at']
  .map((column) => `d.${column}`)
  .join(', ')
const attemptColumns = 'event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response'

type ListRow = Delivery & Pick<Attempt, 'event_id' | 'duration_ms' | 'reason_detail' | 'response'>
const listColumns = `${deliveryColumns}, d.event_id, d.duration_ms, d.reason_detail, d.response`
const listed = ({ event_id, duration_ms, reason_detail, response, ...delivery }: ListRow): ListedDelivery => {
  const { chain, attempt, type, time, code, reason } = delivery
  const request = { event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response }
  return { ...delivery, request: isListedAttempt(type) ? request : null }
}

/**
 * Returns the keys as arrays ($1 to $3), and their lowest and highest accepted_at ($4 and $5). With these two times Postgres skips all
 * other days.
 */
const valuesOf = (keys: readonly DeliveryKey[]) => {
  const times = keys.map((key) => key.accepted_at).sort()
  return [
    keys.map((key) => key.webhook),
    `{${keys.map((key) => key.accepted_at).join(',')}}`,
    `{${keys.map((key) => key.delivery).join(',')}}`,
    times[0],
    times.at(-1),
  ]
}
/**
 * A list is read with one of these limits, so that few statements are prepared. They are the page sizes 20, 50 and 100, plus one row that
 * shows whether more follow.
 */
const limits = [21, 51, 101]
/** A page is first searched in the days within this time (ms) before its end. */
const nearMs = 2 * msPerDay

/**
 * Makes the readers of one build of the history. All statements are prepared, and a list has one statement for each set of conditions. One plan
 * serves all values: it probes an index for each key, and the bounds on accepted_at skip days at run time.
 */
export function createDeliveryQueries(pool: Pool, schema: string): DeliveryReads {
  const query = async <R extends QueryResultRow>(text: string, values: readonly unknown[]): Promise<R[]> => {
    const name = `deliveries-${createHash('sha1').update(text).digest('hex')}`
    const { rows } = await pool.query<R>({ name, text, values: [...values] })
    return rows
  }
  const list = async ({ where, values, order, limit }: ListQuery): Promise<ListedDelivery[]> => {
    // The limit is a literal, because with a parameter Postgres plans for a tenth of all rows.
    const read = limits.find((prepared) => prepared >= limit) ?? limit
    const rows = await query<ListRow>(
      `select ${listColumns} from ${schema}.deliveries d where ${where} order by ${order} limit ${read}`,
      values,
    )
    return rows.slice(0, limit).map(listed)
  }
  return {
    async states(keys) {
      if (keys.length === 0) return []
      // `cross join lateral` with a limit probes the index once for each key. No plan can turn it into a join that reads whole days.
      const rows = await query<Delivery & { nth: bigint }>(
        `select k.nth, ${deliveryColumns}
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) with ordinality as k (webhook, accepted_at, delivery, nth)
         cross join lateral (
           select * from ${schema}.deliveries
           where webhook = k.webhook and accepted_at = k.accepted_at and delivery = k.delivery and accepted_at between $4 and $5 limit 1
         ) as d`,
        valuesOf(keys),
      )
      const byIndex = new Map(rows.map(({ nth, ...delivery }) => [Number(nth) - 1, delivery]))
      return keys.map((_, i) => byIndex.get(i) ?? null)
    },
    async attempts(keys) {
      if (keys.length === 0) return []
      const haveRequests = keys.every(({ request }) => request !== undefined)
      const requests = (table: string, more: string) =>
        `select ${attemptColumns} from ${schema}.${table}
         where delivery = k.delivery and accepted_at = k.accepted_at and accepted_at between $4 and $5 ${more}`
      const states = `union all ${requests('deliveries', `and webhook = k.webhook and type in ('DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered')`)}`
      const rows = await query<Attempt & Pick<DeliveryKey, 'delivery'>>(
        `select k.delivery, request.*
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) as k (webhook, accepted_at, delivery)
         cross join lateral (
           select * from (${requests('attempts', '')} ${haveRequests ? '' : states}) as of_delivery
           order by time desc, chain desc, attempt desc, "event_id" desc limit ${maxAttempts}
         ) as request`,
        valuesOf(keys),
      )
      const attemptsOf = new Map<string, Attempt[]>(keys.map(({ delivery, request }) => [delivery, request ? [request] : []]))
      for (const { delivery, ...attempt } of rows) {
        const list = attemptsOf.get(delivery)
        // The rows may already include the request of the key, because a later fact may have moved it from the state to the attempts.
        if (list?.every(({ event_id }) => event_id !== attempt.event_id)) list.push(attempt)
      }
      for (const list of attemptsOf.values()) list.sort(oldestFirst)
      return keys.map(({ delivery }) => (attemptsOf.get(delivery) ?? []).slice(-maxAttempts))
    },
    async find(tenant, delivery) {
      if (!isUuid(delivery)) return null
      const rows = await query<Delivery>(`select ${deliveryColumns} from ${schema}.deliveries d where delivery = $1 and tenant = $2`, [
        delivery,
        tenant,
      ])
      return rows[0] ?? null
    },
    async history(webhook, { tenant, status, since, until, after, limit }) {
      const page = async (from: string | undefined) => {
        const where = conditions({ webhook, tenant })
        // The status is a literal, so that the plan can use the partial index. It is always one of Kolbak's statuses, and never text of a caller.
        if (status !== undefined) where.add(`status = '${status}'`)
        if (from !== undefined) where.add('accepted_at >= ?', from)
        if (until !== undefined) where.add('accepted_at < ?', until)
        // The bound on accepted_at lets Postgres skip days, which the comparison of rows does not.
        if (after !== undefined)
          where.add('accepted_at <= ? and (accepted_at, delivery) < (?, ?::uuid)', after.at, after.at, after.delivery)
        return list(where.query('accepted_at desc, delivery desc', limit))
      }
      const last = after?.at ?? until
      const end = last === undefined ? Date.now() : Date.parse(last)
      const near = new Date(Math.max(0, end - nearMs)).toISOString()
      if (since !== undefined && since >= near) return page(since)
      const rows = await page(near)
      return rows.length < limit ? page(since) : rows
    },
    async deadLetters({ tenant, webhooks, since, after, limit }) {
      const where = conditions({ tenant })
      where.add('died_at is not null')
      if (webhooks !== undefined) where.add('webhook = any (?::text[])', webhooks)
      if (since !== undefined) where.add('died_at >= ?', since)
      if (after !== undefined) where.add('(died_at, delivery) < (?, ?::uuid)', after.at, after.delivery)
      return list(where.query('died_at desc, delivery desc', limit))
    },
  }
}

interface ListQuery {
  readonly where: string
  readonly values: readonly unknown[]
  readonly order: string
  readonly limit: number
}

/** Collects conditions, so that each set of them has its own text. The plan of `$3 is null or ...` would not use the index of a condition. */
function conditions(equal: Readonly<Record<string, unknown>>) {
  const values: unknown[] = []
  const numbered = (text: string, more: readonly unknown[]) => {
    let next = values.push(...more) - more.length
    return text.replaceAll('?', () => `$${++next}`)
  }
  const texts = Object.entries(equal).map(([column, value]) => numbered(`${column} = ?`, [value]))
  return {
    add(text: string, ...more: unknown[]) {
      texts.push(numbered(text, more))
    },
    query(order: string, limit: number): ListQuery {
      return { where: texts.join(' and '), values, order, limit }
    },
  }
}
