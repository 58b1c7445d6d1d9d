import { createHash } from 'node:crypto'
import type { Pool, QueryResultRow } from 'pg'
import { isListedAttempt } from '../../events/delivery.ts'
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
import {
  attemptOf,
  type Bounds,
  type DeliveryRow,
  deliveryOf,
  deliveryRowColumns,
  type StoredSuccess,
  statesIn,
  successesAsAttempts,
} from './delivery-log-states.ts'

type StoredRow = DeliveryRow & StoredSuccess

/** The most attempts of one delivery that are returned. They are the newest. */
const maxAttempts = 100

const attemptColumns = 'event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response'

const listed = ({ event_id, duration_ms, reason_detail, response, ...delivery }: DeliveryRow): ListedDelivery => {
  const { chain, attempt, type, time, code, reason } = delivery
  const request = { event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response }
  return { ...delivery, request: isListedAttempt(type) ? request : null }
}
const unlisted = ({ event_id, duration_ms, reason_detail, response, ...delivery }: DeliveryRow): Delivery => delivery

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

interface DeliveryQueryOptions {
  readonly pool: Pool
  /** The schema of the build's tables. */
  readonly schema: string
  /** Whether the events of first successes are a part of the history. */
  readonly readsEvents: boolean
}

/**
 * Makes the readers of one build of the history. All statements are prepared, and a list has one statement for each set of conditions. One plan
 * serves all values: it probes an index for each key, and the bounds on accepted_at skip days at run time.
 */
export function createDeliveryQueries({ pool, schema, readsEvents }: DeliveryQueryOptions): DeliveryReads {
  const query = async <R extends QueryResultRow>(text: string, values: readonly unknown[]): Promise<R[]> => {
    const name = `deliveries-${createHash('sha1').update(text).digest('hex')}`
    const { rows } = await pool.query<R>({ name, text, values: [...values] })
    return rows
  }
  const list = async ({ where, values, order, limit, bounds }: ListQuery): Promise<ListedDelivery[]> => {
    // The limit is a literal, because with a parameter Postgres plans for a tenth of all rows.
    const read = limits.find((prepared) => prepared >= limit) ?? limit
    const rows = await query<StoredRow>(
      `select ${deliveryRowColumns} from ${statesIn(schema, readsEvents, { where, order, limit: read, bounds })} d order by ${order}`,
      values,
    )
    return rows.slice(0, limit).map((row) => listed(deliveryOf(row)))
  }
  const isKey = 'webhook = k.webhook and accepted_at = k.accepted_at and delivery = k.delivery and accepted_at between $4 and $5'
  const ofKeys = { first: '$4::timestamptz', last: '$5::timestamptz' }
  return {
    async states(keys) {
      if (keys.length === 0) return []
      // `cross join lateral` with a limit probes the index once for each key. No plan can turn it into a join that reads whole days.
      const rows = await query<StoredRow & { nth: bigint }>(
        `select k.nth, ${deliveryRowColumns}
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) with ordinality as k (webhook, accepted_at, delivery, nth)
         cross join lateral ${statesIn(schema, readsEvents, { where: isKey, limit: 1, bounds: ofKeys })} as d`,
        valuesOf(keys),
      )
      const byIndex = new Map(rows.map(({ nth, ...row }) => [Number(nth) - 1, unlisted(deliveryOf(row))]))
      return keys.map((_, i) => byIndex.get(i) ?? null)
    },
    async attempts(keys) {
      if (keys.length === 0) return []
      const haveRequests = keys.every(({ request }) => request !== undefined)
      const requests = (table: string, more: string) =>
        `select ${attemptColumns}, null::text as event_stream, null::text as event_data, null::text as event_metadata from ${schema}.${table}
         where delivery = k.delivery and accepted_at = k.accepted_at and accepted_at between $4 and $5 ${more}`
      const states = `union all ${requests('deliveries', `and webhook = k.webhook and type in ('DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered')`)}`
      const successes = readsEvents ? `union all ${successesAsAttempts(attemptColumns, ofKeys)}` : ''
      const rows = await query<Attempt & StoredSuccess & Pick<DeliveryKey, 'delivery'>>(
        `select k.delivery, request.*
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) as k (webhook, accepted_at, delivery)
         cross join lateral (
           select * from (${requests('attempts', '')} ${haveRequests ? '' : states} ${successes}) as of_delivery
           order by time desc, chain desc, attempt desc, "event_id" desc limit ${maxAttempts}
         ) as request`,
        valuesOf(keys),
      )
      const attemptsOf = new Map<string, Attempt[]>(keys.map(({ delivery, request }) => [delivery, request ? [request] : []]))
      for (const { delivery, ...row } of rows) {
        const attempt = attemptOf(row)
        const list = attemptsOf.get(delivery)
        // One attempt can come twice. The caller passes it as `request`, and a later fact may meanwhile have moved it into the table of attempts. A
        // first success may be both a row and an event.
        if (list?.every(({ event_id }) => event_id !== attempt.event_id)) list.push(attempt)
      }
      for (const list of attemptsOf.values()) list.sort(oldestFirst)
      return keys.map(({ delivery }) => (attemptsOf.get(delivery) ?? []).slice(-maxAttempts))
    },
    async find(tenant, delivery) {
      if (!isUuid(delivery)) return null
      const rows = await query<StoredRow>(
        `select ${deliveryRowColumns} from ${statesIn(schema, readsEvents, { where: 'delivery = $1 and tenant = $2', limit: 1 })} d`,
        [delivery, tenant],
      )
      return rows[0] === undefined ? null : unlisted(deliveryOf(rows[0]))
    },
    async history(webhook, { tenant, status, since, until, after, limit }) {
      const page = async (from: string | undefined) => {
        const where = conditions({ webhook, tenant })
        // The status is a literal, so that the plan can use the partial index. It is always one of Kolbak's statuses, and never text of a caller.
        if (status !== undefined) where.add(`status = '${status}'`)
        const first = from === undefined ? undefined : where.add('accepted_at >= ?', from)
        let last = until === undefined ? undefined : where.add('accepted_at < ?', until)
        // The bound on accepted_at lets Postgres skip days, which the comparison of rows does not.
        if (after !== undefined)
          last = where.add('accepted_at <= ? and (accepted_at, delivery) < (?, ?::uuid)', after.at, after.at, after.delivery)
        return list(where.query('accepted_at desc, delivery desc', limit, { first, last }))
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
  readonly bounds: Bounds
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
    /** Adds a condition. Returns the SQL of its first value, as a time. */
    add(text: string, ...more: unknown[]): string {
      const first = values.length + 1
      texts.push(numbered(text, more))
      return `$${first}::timestamptz`
    },
    query(order: string, limit: number, bounds: Bounds = {}): ListQuery {
      return { where: texts.join(' and '), values, order, limit, bounds }
    },
  }
}
