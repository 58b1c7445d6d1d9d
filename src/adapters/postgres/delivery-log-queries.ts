import { createHash } from 'node:crypto'
import type { Pool, QueryResultRow } from 'pg'
import { type DeliveryStatus, isListedAttempt } from '../../events/delivery.ts'
import type { RecordedEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import { isUuid } from '../../events/uuid.ts'
import { msPerDay } from '../../lib/days.ts'
import {
  type Attempt,
  type DeadLetterGroup,
  type DeadLettersQuery,
  type Delivery,
  type DeliveryKey,
  type DeliveryReads,
  type HistoryQuery,
  type ListedDelivery,
  oldestFirst,
  type ResultFilter,
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
  successOf,
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
  /** Returns whether Kolbak has not written the event of a first success. The history leaves such an event out. */
  isForged(event: RecordedEvent): boolean
}

/**
 * Makes the readers of one build of the history. All statements are prepared, and a list has one statement for each set of conditions. One plan
 * serves all values: it probes an index for each key, and the bounds on accepted_at skip days at run time.
 */
export function createDeliveryQueries({ pool, schema, readsEvents, isForged }: DeliveryQueryOptions): DeliveryReads {
  const query = createPreparedQuery(pool)
  const hasForgedEvent = createForgedEventCheck(isForged)
  const genuineRows = createGenuineRows(query, hasForgedEvent)
  const list = async ({ where, values, order, limit, bounds }: ListQuery): Promise<ListedDelivery[]> => {
    // The limit is a literal, because with a parameter Postgres plans for a tenth of all rows.
    const preparedLimit = limits.find((prepared) => prepared >= limit) ?? limit
    const rows = await genuineRows(
      (except) =>
        `select ${deliveryRowColumns} from ${statesIn(schema, readsEvents, { where, order, limit: preparedLimit, bounds, except })} d order by ${order}`,
      values,
    )
    return rows.slice(0, limit).map((row) => listed(deliveryOf(row)))
  }
  const newestAccepted = createNewestAccepted(list)
  const isKey = 'webhook = k.webhook and accepted_at = k.accepted_at and delivery = k.delivery and accepted_at between $4 and $5'
  const ofKeys = { first: '$4::timestamptz', last: '$5::timestamptz' }
  return {
    async states(keys) {
      if (keys.length === 0) return []
      // `cross join lateral` with a limit probes the index once for each key. No plan can turn it into a join that reads whole days.
      const rows = await genuineRows<StoredRow & { nth: bigint }>(
        (except) => `select k.nth, ${deliveryRowColumns}
         from unnest($1::text[], $2::timestamptz[], $3::uuid[]) with ordinality as k (webhook, accepted_at, delivery, nth)
         cross join lateral ${statesIn(schema, readsEvents, { where: isKey, limit: 1, bounds: ofKeys, except })} as d`,
        valuesOf(keys),
      )
      const byIndex = new Map(rows.map(({ nth, ...row }) => [Number(nth) - 1, unlisted(deliveryOf(row))]))
      return keys.map((_, i) => byIndex.get(i) ?? null)
    },
    async attempts(keys) {
      if (keys.length === 0) return []
      const haveRequests = keys.every(({ request }) => request !== undefined)
      const requests = (table: string, condition: string) =>
        `select ${attemptColumns}, null::text as event_stream, null::text as event_data, null::text as event_metadata, null::bigint as event_position
         from ${schema}.${table}
         where delivery = k.delivery and accepted_at = k.accepted_at and accepted_at between $4 and $5 ${condition}`
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
        if (hasForgedEvent(row)) continue
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
      const rows = await genuineRows(
        (except) =>
          `select ${deliveryRowColumns} from ${statesIn(schema, readsEvents, { where: 'delivery = $1 and tenant = $2', limit: 1, except })} d`,
        [delivery, tenant],
      )
      return rows[0] === undefined ? null : unlisted(deliveryOf(rows[0]))
    },
    history: (webhook, { tenant, status, ...query }) =>
      newestAccepted({ tenant, ...query }, () => {
        const where = conditions({ webhook, tenant })
        if (status !== undefined) addStatus(where, status)
        return where
      }),
    undelivered: ({ tenant, status, webhooks, ...query }) =>
      newestAccepted({ tenant, ...query }, () => {
        const where = conditions({ tenant })
        addStatus(where, status)
        if (webhooks !== undefined) where.add('webhook = any (?::text[])', webhooks)
        return where
      }),
    deadLetters: (deadLetters) => list(deadLettersQuery(deadLetters)),
    async deadLetterGroups(deadLetters) {
      const { where, values, order, limit } = deadLettersQuery(deadLetters)
      return query<DeadLetterGroup>(
        `select webhook, event, code, reason, count(*)::integer as count, min(died_at) as first_at, max(died_at) as last_at,
           min(accepted_at) as first_accepted_at, max(accepted_at) as last_accepted_at,
           (array_agg(delivery order by died_at desc, delivery desc))[1] as sample
         from ${statesIn(schema, readsEvents, { where, order, limit })} d
         group by webhook, event, code, reason order by count desc, last_at desc, webhook, event, reason`,
        values,
      )
    },
    countDeadLetters: (tenants, limit) => countDeadLetters(query, schema, tenants, limit),
  }
}

/** Makes the function that runs a prepared statement. Its name follows from its text. */
const createPreparedQuery =
  (pool: Pool): Query =>
  async <R extends QueryResultRow>(text: string, values: readonly unknown[]) => {
    const name = `deliveries-${createHash('sha1').update(text).digest('hex')}`
    const { rows } = await pool.query<R>({ name, text, values: [...values] })
    return rows
  }
const createForgedEventCheck =
  (isForged: DeliveryQueryOptions['isForged']) =>
  (row: StoredSuccess): boolean => {
    const event = successOf(row)
    return event !== null && isForged(event)
  }

/**
 * Makes the reader of states without forged first successes. The MAC of an event can be checked only outside of Postgres. So if a row is a forged event,
 * the query is repeated without this event, and returns the state that the delivery really has.
 */
function createGenuineRows(query: Query, hasForgedEvent: (row: StoredSuccess) => boolean) {
  /** @param textOf returns the query without the events of `except`, which is a parameter in SQL */
  return async <R extends StoredRow = StoredRow>(textOf: (except?: string) => string, values: readonly unknown[]): Promise<R[]> => {
    const forged: EventId[] = []
    for (;;) {
      const except = forged.length === 0 ? undefined : `$${values.length + 1}::uuid[]`
      const rows = await query<R>(textOf(except), except === undefined ? values : [...values, forged])
      const newlyForged = rows.filter(hasForgedEvent)
      if (newlyForged.length === 0) return rows
      forged.push(...newlyForged.map(({ event_id }) => event_id))
    }
  }
}

/** Makes the reader of a page that is ordered by the time of acceptance. The latest days are read first, because most pages end there. */
function createNewestAccepted(list: (query: ListQuery) => Promise<ListedDelivery[]>) {
  return async (query: Omit<HistoryQuery, 'status'>, conditionsOf: () => Conditions): Promise<ListedDelivery[]> => {
    const { since, until, after, limit } = query
    const page = async (from: string | undefined) => {
      const where = conditionsOf()
      addResult(where, query)
      const first = from === undefined ? undefined : where.add('accepted_at >= ?', from)
      let last = until === undefined ? undefined : where.add('accepted_at < ?', until)
      // The bound on accepted_at lets Postgres skip days, which the comparison of rows does not.
      if (after !== undefined)
        last = where.add('accepted_at <= ? and (accepted_at, delivery) < (?, ?::uuid)', after.at, after.at, after.delivery)
      return list(where.query('accepted_at desc, delivery desc', limit, { first, last }))
    }
    const end = after?.at ?? until
    const near = new Date(Math.max(0, (end === undefined ? Date.now() : Date.parse(end)) - nearMs)).toISOString()
    if (since !== undefined && since >= near) return page(since)
    const rows = await page(near)
    return rows.length < limit ? page(since) : rows
  }
}

function deadLettersQuery({ tenant, webhooks, since, until, after, limit, ...result }: DeadLettersQuery): ListQuery {
  const where = conditions({ tenant })
  where.add('died_at is not null')
  if (webhooks !== undefined) where.add('webhook = any (?::text[])', webhooks)
  addResult(where, result)
  if (since !== undefined) where.add('died_at >= ?', since)
  if (until !== undefined) where.add('died_at < ?', until)
  if (after !== undefined) where.add('(died_at, delivery) < (?, ?::uuid)', after.at, after.delivery)
  return where.query('died_at desc, delivery desc', limit)
}
/** Adds the status as a literal, so that the plan can use a partial index. It is always one of Kolbak's statuses, and never text of a caller. */
const addStatus = (where: Conditions, status: DeliveryStatus) => where.add(`status = '${status}'`)
function addResult(where: Conditions, { event, reason, code }: ResultFilter): void {
  if (event !== undefined) where.add('event = ?', event)
  if (reason !== undefined) where.add('reason = ?', reason)
  if (code !== undefined) where.add('code = ?', code)
}
type Query = <R extends QueryResultRow>(text: string, values: readonly unknown[]) => Promise<R[]>
/** Counts dead letters. A first success is never one, so only rows are counted. The order makes the plan use the index of dead letters. */
async function countDeadLetters(query: Query, schema: string, tenants: readonly string[], limit: number): Promise<number> {
  const [row] = await query<{ count: number }>(
    `select count(*)::int as count from (
       select from ${schema}.deliveries where tenant = any ($1::text[]) and died_at is not null order by tenant, died_at limit $2
     ) as dead`,
    [tenants, limit],
  )
  return row?.count ?? 0
}

interface ListQuery {
  readonly where: string
  readonly values: readonly unknown[]
  readonly order: string
  readonly limit: number
  readonly bounds: Bounds
}

type Conditions = ReturnType<typeof conditions>
/** Collects conditions, so that each set of them has its own text. The plan of `$3 is null or ...` would not use the index of a condition. */
function conditions(equal: Readonly<Record<string, unknown>>) {
  const values: unknown[] = []
  const numbered = (text: string, newValues: readonly unknown[]) => {
    let next = values.push(...newValues) - newValues.length
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
