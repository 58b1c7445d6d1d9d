import { createHash } from 'node:crypto'
import type { Pool, QueryResultRow } from 'pg'
import { isRequest } from '../../events/delivery.ts'
import { deliveryRefFields } from '../../events/refs.ts'
import {
  type Attempt,
  type Delivery,
  type DeliveryKey,
  type DeliveryReads,
  type ListedDelivery,
  oldestFirst,
} from '../../ports/delivery-log.ts'

/** At most so many attempts of one delivery are read, the newest. */
const maxAttempts = 100
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

const deliveryColumns = [...deliveryRefFields, 'type', 'status', 'time', 'code', 'reason', 'next_attempt_at']
  .map((column) => `d.${column}`)
  .join(', ')
const attemptColumns = 'event_id, chain, attempt, type, time, code, duration_ms, reason, response'

type ListRow = Delivery & Pick<Attempt, 'event_id' | 'duration_ms' | 'response'>
const listColumns = `${deliveryColumns}, d.event_id, d.duration_ms, d.response`
const listed = ({ event_id, duration_ms, response, ...delivery }: ListRow): ListedDelivery => {
  const { chain, attempt, type, time, code, reason } = delivery
  return { ...delivery, request: isRequest(type) ? { event_id, chain, attempt, type, time, code, duration_ms, reason, response } : null }
}

/** The keys as arrays ($1 to $3); the first and the last time ($4 and $5) say which days need no look. */
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
/** A list is read with one of these limits, so that few statements are prepared: those of whole pages of 20, 50 and 100, and one to see whether there are more. */
const limits = [21, 51, 101]
/** Days in which a page is looked for first. */
const nearMs = 2 * 86_400_000

/**
 * The readers of the history whose tables stand in a schema. All is prepared, a list for each set of its conditions, and written so that one plan serves all
 * values: a probe of an index for each key, and bounds on accepted_at by which days are left out when it runs.
 */
export function deliveryQueries(pool: Pool, schema: string): DeliveryReads {
  const ask = async <R extends QueryResultRow>(text: string, values: readonly unknown[]): Promise<R[]> => {
    const name = `deliveries-${createHash('sha1').update(text).digest('hex')}`
    const { rows } = await pool.query<R>({ name, text, values: [...values] })
    return rows
  }
  const list = async ({ where, values, order, limit }: ListQuery): Promise<ListedDelivery[]> => {
    // Of a parameter Postgres expects a tenth of all rows.
    const read = limits.find((one) => one >= limit) ?? limit
    const rows = await ask<ListRow>(
      `select ${listColumns} from ${schema}.deliveries d where ${where} order by ${order} limit ${read}`,
      values,
    )
    return rows.slice(0, limit).map(listed)
  }
  return {
    async states(keys) {
      if (keys.length === 0) return []
      // Lateral with a limit: one index probe each, which no plan can turn into a join that reads whole days.
      const rows = await ask<Delivery & { nth: bigint }>(
        `select k.nth, ${deliveryColumns}
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) with ordinality as k (webhook, accepted_at, delivery, nth)
         cross join lateral (
           select * from ${schema}.deliveries
           where webhook = k.webhook and accepted_at = k.accepted_at and delivery = k.delivery and accepted_at between $4 and $5 limit 1
         ) as d`,
        valuesOf(keys),
      )
      const found = new Map(rows.map(({ nth, ...delivery }) => [Number(nth) - 1, delivery]))
      return keys.map((_, i) => found.get(i) ?? null)
    },
    async attempts(keys) {
      if (keys.length === 0) return []
      const known = keys.every(({ request }) => request !== undefined)
      const requests = (table: string, more: string) =>
        `select ${attemptColumns} from ${schema}.${table}
         where delivery = k.delivery and accepted_at = k.accepted_at and accepted_at between $4 and $5 ${more}`
      const states = `union all ${requests('deliveries', `and webhook = k.webhook and type in ('DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered')`)}`
      const rows = await ask<Attempt & Pick<DeliveryKey, 'delivery'>>(
        `select k.delivery, request.*
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) as k (webhook, accepted_at, delivery)
         cross join lateral (
           select * from (${requests('attempts', '')} ${known ? '' : states}) as of_delivery
           order by time desc, chain desc, attempt desc, "event_id" desc limit ${maxAttempts}
         ) as request`,
        valuesOf(keys),
      )
      const found = new Map<string, Attempt[]>(keys.map(({ delivery, request }) => [delivery, request ? [request] : []]))
      for (const { delivery, ...attempt } of rows) {
        const list = found.get(delivery)
        // What was the state when the list was read may have given way to another since.
        if (list?.every(({ event_id }) => event_id !== attempt.event_id)) list.push(attempt)
      }
      for (const list of found.values()) list.sort(oldestFirst)
      return keys.map(({ delivery }) => (found.get(delivery) ?? []).slice(-maxAttempts))
    },
    async find(tenant, delivery) {
      if (!uuid.test(delivery)) return null
      const rows = await ask<Delivery>(`select ${deliveryColumns} from ${schema}.deliveries d where delivery = $1 and tenant = $2`, [
        delivery,
        tenant,
      ])
      return rows[0] ?? null
    },
    async history(webhook, { tenant, status, since, until, after, limit }) {
      const page = async (from: string | undefined) => {
        const asked = conditions({ webhook, tenant })
        // As a literal, so that the plan may take the partial index; words of ours alone.
        if (status !== undefined) asked.add(`status = '${status}'`)
        if (from !== undefined) asked.add('accepted_at >= ?', from)
        if (until !== undefined) asked.add('accepted_at < ?', until)
        // The bound on accepted_at alone says what the comparison of rows does not: which days need no look.
        if (after !== undefined)
          asked.add('accepted_at <= ? and (accepted_at, delivery) < (?, ?::uuid)', after.at, after.at, after.delivery)
        return list(asked.query('accepted_at desc, delivery desc', limit))
      }
      const last = after?.at ?? until
      const end = last === undefined ? Date.now() : Date.parse(last)
      const near = new Date(Math.max(0, end - nearMs)).toISOString()
      if (since !== undefined && since >= near) return page(since)
      const rows = await page(near)
      return rows.length < limit ? page(since) : rows
    },
    async deadLetters({ tenant, webhooks, since, after, limit }) {
      const asked = conditions({ tenant })
      asked.add('died_at is not null')
      if (webhooks !== undefined) asked.add('webhook = any (?::text[])', webhooks)
      if (since !== undefined) asked.add('died_at >= ?', since)
      if (after !== undefined) asked.add('(died_at, delivery) < (?, ?::uuid)', after.at, after.delivery)
      return list(asked.query('died_at desc, delivery desc', limit))
    },
  }
}

interface ListQuery {
  readonly where: string
  readonly values: readonly unknown[]
  readonly order: string
  readonly limit: number
}

/** What is asked, a text for each set of conditions: one statement with all of them as `$3 is null or ...` would hide which index serves it. */
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
