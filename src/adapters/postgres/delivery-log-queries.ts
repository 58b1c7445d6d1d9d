import { createHash } from 'node:crypto'
import type { Pool } from 'pg'
import type { Attempt, Delivery, DeliveryKey, DeliveryReads } from '../../ports/delivery-log.ts'

/** At most so many attempts of one delivery are read, the newest. */
const maxAttempts = 100
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

const deliveryColumns = `d.webhook, d.accepted_at as "acceptedAt", d.delivery, d.tenant, d.message, d.place, d.fingerprint, d.event,
  d.correlation_id as "correlationId", d.type, d.status, d.chain, d.attempt, d.time, d.code, d.reason, d.next_attempt_at as "nextAttemptAt"`
const attemptColumns = 'event_id, chain, attempt, type, time, code, duration_ms, reason, response'

/** The first and the last time say which days need no look: planning for those of a month takes longer than the rest (measured: 4 ms). */
const arraysOf = (keys: readonly DeliveryKey[]) => {
  const times = keys.map((key) => key.acceptedAt).sort()
  return [
    keys.map((key) => key.webhook),
    `{${keys.map((key) => key.acceptedAt).join(',')}}`,
    `{${keys.map((key) => key.delivery).join(',')}}`,
    times[0],
    times.at(-1),
  ]
}
/** Days in which a page is looked for first. */
const nearMs = 2 * 86_400_000

/**
 * The readers of the history whose tables stand in a schema. Those of known keys are not named: so Postgres plans each for the values at hand, leaves out
 * the days that they exclude, and knows how large the newest day is by now. Pages are prepared, a statement for each set of conditions.
 */
export function deliveryQueries(pool: Pool, schema: string): DeliveryReads {
  return {
    async states(keys) {
      if (keys.length === 0) return []
      // Lateral with a limit: one index probe each, which no plan can turn into a join that reads whole days.
      const { rows } = await pool.query<Delivery & { nth: bigint }>(
        `select k.nth, ${deliveryColumns}
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) with ordinality as k (webhook, accepted_at, delivery, nth)
         cross join lateral (
           select * from ${schema}.deliveries
           where webhook = k.webhook and accepted_at = k.accepted_at and delivery = k.delivery and accepted_at between $4 and $5 limit 1
         ) as d`,
        arraysOf(keys),
      )
      const found = new Map(rows.map(({ nth, ...delivery }) => [Number(nth) - 1, delivery]))
      return keys.map((_, i) => found.get(i) ?? null)
    },
    async attempts(keys) {
      if (keys.length === 0) return []
      const { rows } = await pool.query<Attempt & { nth: bigint }>(
        `select k.nth, a.event_id as "eventId", a.chain, a.attempt, a.type, a.time, a.code, a.duration_ms as "durationMs", a.reason, a.response
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) with ordinality as k (webhook, accepted_at, delivery, nth)
         cross join lateral (
           select * from (
             select ${attemptColumns} from ${schema}.attempts
             where delivery = k.delivery and accepted_at = k.accepted_at and accepted_at between $4 and $5
             union all
             select ${attemptColumns} from ${schema}.deliveries
             where webhook = k.webhook and accepted_at = k.accepted_at and delivery = k.delivery and accepted_at between $4 and $5
               and type in ('DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered')
           ) as requests
           order by time desc, chain desc, attempt desc, event_id desc limit $6
         ) as a
         order by k.nth, a.time, a.chain, a.attempt, a.event_id`,
        [...arraysOf(keys), maxAttempts],
      )
      const found: Attempt[][] = keys.map(() => [])
      for (const { nth, ...attempt } of rows) found[Number(nth) - 1]?.push(attempt)
      return found
    },
    async find(tenant, delivery) {
      if (!uuid.test(delivery)) return null
      const { rows } = await pool.query<Delivery>(
        `select ${deliveryColumns} from ${schema}.deliveries d where delivery = $1 and tenant = $2`,
        [delivery, tenant],
      )
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
        const { rows } = await pool.query<Delivery>(
          asked.query(
            `select ${deliveryColumns} from ${schema}.deliveries d where`,
            'order by accepted_at desc, delivery desc limit ?',
            limit,
          ),
        )
        return rows
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
      const { rows } = await pool.query<Delivery>(
        asked.query(`select ${deliveryColumns} from ${schema}.deliveries d where`, 'order by died_at desc, delivery desc limit ?', limit),
      )
      return rows
    },
  }
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
    query(before: string, after: string, ...more: unknown[]) {
      const text = `${before} ${texts.join(' and ')} ${numbered(after, more)}`
      return { text, values, name: `deliveries-${createHash('sha1').update(text).digest('hex')}` }
    },
  }
}
