import type { Pool } from 'pg'
import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import { routedMessagesIn } from '../events/delivery-facts.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { type Sql, SqlPart, sqlText } from '../lib/sql.ts'
import { projectionNames } from './names.ts'

/** The names of the counts, besides those of durations. Each is a column of `delivery_statistics`. */
export const countNames = [
  ...(['accepted', 'success', 'retrying', 'failed', 'discarded', 'replayed'] as const),
  ...(['http_2xx', 'http_3xx', 'http_4xx', 'http_5xx', 'no_response'] as const),
] as const
export type CountName = (typeof countNames)[number]
/** Requests are counted by these upper bounds of their duration, in milliseconds. The last count has no bound. */
export const durationBounds = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000] as const
/** The columns that count requests by their duration, in the order of the bounds. */
export const durationNames = [...durationBounds.map((bound) => `up_to_${bound}_ms`), 'longer']
const columnNames: readonly string[] = [...countNames, ...durationNames]

/** The stored spans of time in seconds: minutes, which are kept for two days, and hours, which are kept as long as the history. */
export const storedSteps = { minute: 60, hour: 3_600 } as const
export const daysOfMinutes = 2
/** Stands for the webhook in the rows with the sums of all webhooks. */
export const allWebhooks = ''

const statusNames = {
  DeliverySucceeded: 'success',
  DeliveryFailed: 'retrying',
  DeliveryDeadLettered: 'failed',
  DeliveryDiscarded: 'discarded',
  DeliveryReplayed: 'replayed',
} as const satisfies Partial<Record<RecordedDeliveryEvent['type'], CountName>>

/** Counts of one stored span of time. */
interface Row {
  readonly tenant: string
  readonly step: number
  readonly webhook: string
  /** The beginning of the span, as the first characters of an RFC 3339 time: `2026-03-31T00:45` or `2026-03-31T00`. */
  readonly start: string
  /** The counts in the order of `columnNames`. */
  readonly counts: number[]
}

/** Counts events by tenant, webhook and minute, and then adds up the webhooks and the hours. So an event costs little more than one look-up. */
class Counting {
  readonly #rows = new Map<string, Row>()

  add(tenant: string, webhook: string, time: string, name: CountName): Row {
    const row = this.#row(tenant, storedSteps.minute, webhook, time.slice(0, 'yyyy-mm-ddThh:mm'.length))
    row.counts[columnNames.indexOf(name)]!++
    return row
  }

  /** Returns all rows in the order of their keys, because statements that write rows in different orders could deadlock. */
  sums(): Row[] {
    for (const { tenant, webhook, start, counts } of [...this.#rows.values()])
      if (webhook !== allWebhooks) this.#addTo(this.#row(tenant, storedSteps.minute, allWebhooks, start), counts)
    for (const { tenant, webhook, start, counts } of [...this.#rows.values()])
      this.#addTo(this.#row(tenant, storedSteps.hour, webhook, start.slice(0, 'yyyy-mm-ddThh'.length)), counts)
    return [...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  }

  #addTo(sum: Row, counts: readonly number[]): void {
    for (const [i, count] of counts.entries()) sum.counts[i]! += count
  }
  #row(tenant: string, step: number, webhook: string, start: string): Row {
    const key = `${tenant} ${step} ${webhook} ${start}`
    let row = this.#rows.get(key)
    if (row === undefined) {
      row = { tenant, step, webhook, start, counts: new Array<number>(columnNames.length).fill(0) }
      this.#rows.set(key, row)
    }
    return row
  }
}

function countEvents(events: readonly RecordedEvent[]): Row[] {
  const counting = new Counting()
  for (const event of events as readonly RecordedDeliveryEvent[]) {
    if (event.type === 'MessageRejected') continue
    if (event.type === 'MessageRouted' || event.type === 'MessagesRouted') {
      if (event.type === 'MessageRouted' && event.data.part > 0) continue
      for (const { message } of routedMessagesIn(event)) counting.add(message.tenant, allWebhooks, message.accepted_at, 'accepted')
      continue
    }
    const { data, metadata, type } = event
    const row = counting.add(metadata.tenant, data.webhook, metadata.time, statusNames[type])
    // A delivery that ended without a request has neither a code nor a duration.
    if (!('duration_ms' in data) || (data.code === null && data.duration_ms === 0)) continue
    row.counts[columnNames.indexOf(responseName(data.code))]!++
    row.counts[countNames.length + durationIndex(data.duration_ms)]!++
  }
  return counting.sums()
}
const responseNames: Readonly<Record<number, CountName>> = { 2: 'http_2xx', 3: 'http_3xx', 4: 'http_4xx', 5: 'http_5xx' }
const responseName = (code: number | null): CountName => responseNames[Math.floor((code ?? 0) / 100)] ?? 'no_response'
const durationIndex = (ms: number): number => {
  const index = durationBounds.findIndex((bound) => ms <= bound)
  return index < 0 ? durationBounds.length : index
}

/**
 * Adds events to the counts of a build. The projection `deliveries` calls this function in the transaction of its checkpoint. One statement writes few
 * rows, because the events of a batch are of nearly the same time. A rebuild leaves out minutes that are not kept any more.
 */
export async function recordStatistics(sql: Sql, build: number, events: readonly RecordedEvent[]): Promise<void> {
  const rows = countEvents(events)
  if (rows.length === 0) return
  // Each column is one parameter, whose text Postgres reads as an array. The driver would escape each number of an array.
  const texts = [
    rows.map(({ tenant }) => tenant),
    rows.map(({ webhook }) => webhook),
    rows.map(({ start, step }) => `${start}${step === storedSteps.minute ? ':00Z' : ':00:00Z'}`),
  ]
  const numbers = [rows.map(({ step }) => step), ...columnNames.map((_, i) => rows.map(({ counts }) => counts[i]!))]
  const columns = new SqlPart(
    (first) =>
      [
        ...['text[]', 'text[]', 'timestamptz[]'].map((type, i) => `$${first + i}::${type}`),
        ...numbers.map((_, i) => `$${first + texts.length + i}::int[]`),
      ].join(', '),
    [...texts, ...numbers.map((column) => `{${column.join(',')}}`)],
  )
  await sql`insert into delivery_statistics as stored (build, tenant, webhook, starts_at, step_seconds, ${names})
    select ${build}::int, tenant, webhook, starts_at, step_seconds, ${names}
    from unnest(${columns}) as counted (tenant, webhook, starts_at, step_seconds, ${names})
    where step_seconds > ${storedSteps.minute} or starts_at > clock_timestamp() - ${daysOfMinutes} * interval '1 day'
    on conflict (build, tenant, step_seconds, webhook, starts_at) do update set ${additions}`
}
const names = sqlText(columnNames.join(', '))
const additions = sqlText(columnNames.map((name) => `${name} = stored.${name} + excluded.${name}`).join(', '))

/** Deletes rows that are no longer kept, and those of former builds. Returns their number. @param day the first day of the history (`yyyy-mm-dd`) */
export async function expireStatistics(pool: Pool, day: string): Promise<number> {
  const isOfFormerBuild = `build < (select build from projections where name = '${projectionNames.deliveries}' and is_live)`
  const { rowCount } = await pool.query(
    `delete from delivery_statistics
     where starts_at < $1::date::timestamp at time zone 'UTC' or ${isOfFormerBuild}
       or (step_seconds = $2 and starts_at < clock_timestamp() - $3 * interval '1 day')`,
    [day, storedSteps.minute, daysOfMinutes],
  )
  await pool.query(`delete from delivery_statistics_since where since < $1::date::timestamp at time zone 'UTC' or ${isOfFormerBuild}`, [
    day,
  ])
  return rowCount ?? 0
}
