import type { Pool } from 'pg'
import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import { routedMessagesIn } from '../events/delivery-facts.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { joinTexts } from '../lib/joined-texts.ts'
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

/** Counts of one minute of one webhook, or of the accepted messages of a tenant. */
interface Line {
  readonly tenant: string
  /** The webhook, or `allWebhooks` for accepted messages, which belong to none. */
  readonly webhook: string
  /** The beginning of the minute, as the first characters of an RFC 3339 time: `2026-03-31T00:45`. */
  readonly minute: string
  /** The counts in the order of `columnNames`. */
  readonly counts: number[]
}

/** Counts events by tenant, webhook and minute. */
class Counting {
  readonly #lines = new Map<string, Line>()

  add(tenant: string, webhook: string, time: string, name: CountName): Line {
    const minute = time.slice(0, 'yyyy-mm-ddThh:mm'.length)
    const key = `${webhook || tenant} ${minute}`
    let line = this.#lines.get(key)
    if (line === undefined) {
      line = { tenant, webhook, minute, counts: new Array<number>(columnNames.length).fill(0) }
      this.#lines.set(key, line)
    }
    line.counts[columnNames.indexOf(name)]!++
    return line
  }

  lines(): Line[] {
    return [...this.#lines.values()]
  }
}

function countEvents(events: readonly RecordedEvent[]): Line[] {
  const counting = new Counting()
  for (const event of events as readonly RecordedDeliveryEvent[]) {
    if (event.type === 'MessageRejected') continue
    if (event.type === 'MessageRouted' || event.type === 'MessagesRouted') {
      if (event.type === 'MessageRouted' && event.data.part > 0) continue
      for (const { message } of routedMessagesIn(event)) counting.add(message.tenant, allWebhooks, message.accepted_at, 'accepted')
      continue
    }
    const { data, metadata, type } = event
    const { counts } = counting.add(metadata.tenant, data.webhook, metadata.time, statusNames[type])
    // A delivery that ended without a request has neither a code nor a duration.
    if (!('duration_ms' in data) || (data.code === null && data.duration_ms === 0)) continue
    counts[columnNames.indexOf(responseName(data.code))]!++
    counts[countNames.length + durationIndex(data.duration_ms)]!++
  }
  return counting.lines()
}
const responseNames: Readonly<Record<number, CountName>> = { 2: 'http_2xx', 3: 'http_3xx', 4: 'http_4xx', 5: 'http_5xx' }
const responseName = (code: number | null): CountName => responseNames[Math.floor((code ?? 0) / 100)] ?? 'no_response'
const durationIndex = (ms: number): number => {
  const index = durationBounds.findIndex((bound) => ms <= bound)
  return index < 0 ? durationBounds.length : index
}

/** The counts of this number of batches are gathered before they are added to `delivery_statistics`. Readers add up what is gathered. */
const gatheredBatches = 16

/**
 * Adds events to the counts of a build. The projection `deliveries` calls this function in the transaction of its checkpoint. It stores the counts of a
 * batch as one row, and adds up such rows now and then, because a batch can have events of a thousand webhooks.
 */
export async function recordStatistics(sql: Sql, build: number, events: readonly RecordedEvent[]): Promise<void> {
  const lines = countEvents(events)
  if (lines.length === 0) return
  const texts = [
    lines.map(({ tenant }) => tenant),
    lines.map(({ webhook }) => webhook),
    lines.map(({ minute }) => `${minute}:00Z`),
    lines.map(({ counts }) => counts.join(',')),
  ]
  const [stored] = await sql<{ is_full: boolean }>`
    insert into gathered_delivery_counts as stored (build, tenants, webhooks, minutes, counts) values (${build}, ${new SqlPart(
      (first) => texts.map((_, i) => `$${first + i}`).join(', '),
      texts.map(joinTexts),
    )})
    returning id >= (select min(id) from gathered_delivery_counts where build = stored.build) + ${gatheredBatches - 1} as is_full`
  if (stored?.is_full === true) await addGathered(sql, build)
}

/** Adds the gathered counts of a build to `delivery_statistics`. A rebuild leaves out minutes that are not kept any more. */
async function addGathered(sql: Sql, build: number): Promise<void> {
  await sql`
    with gathered as (delete from gathered_delivery_counts where build = ${build} returning *)
    insert into delivery_statistics as stored (build, tenant, step_seconds, webhook, starts_at, ${names})
    select ${build}::int, tenant, step_seconds, webhook, starts_at, ${names} from (${sqlText(rowsOf('gathered'))}) as counted
    where step_seconds > ${storedSteps.minute} or starts_at > clock_timestamp() - ${daysOfMinutes} * interval '1 day'
    order by tenant, step_seconds, webhook, starts_at -- statements that write rows in different orders could deadlock
    on conflict (build, tenant, step_seconds, webhook, starts_at) do update set ${additions}`
}
const names = sqlText(columnNames.join(', '))
const additions = sqlText(columnNames.map((name) => `${name} = stored.${name} + excluded.${name}`).join(', '))

/**
 * Returns the SQL that makes rows of `delivery_statistics` from gathered counts. Each count is in the row of its minute and of its hour, for its webhook
 * and for all webhooks together. @param source where the rows of `gathered_delivery_counts` are
 */
function rowsOf(source: string): string {
  const texts = ['tenants', 'webhooks', 'minutes', 'counts'].map((name) => `string_to_array(gathered.${name}, e'\\x1e')`)
  const sums = (summed: (name: string, place: number) => string) =>
    columnNames.map((name, i) => `sum(${summed(name, i + 1)})::int as ${name}`).join(', ')
  const steps = Object.entries(storedSteps).map(([unit, seconds]) => `('${unit}', ${seconds})`)
  // The counts are first added up by minute, because four rows are then made of each.
  return `
    select tenant, step_seconds, counted_for.webhook, date_trunc(unit, minute, 'UTC') as starts_at, ${sums((name) => name)}
    from (
      select tenant, line.webhook, minute::timestamptz as minute, ${sums((_, place) => `numbers[${place}]`)}
      from ${source} as gathered, unnest(${texts.join(', ')}) as line (tenant, webhook, minute, counts),
        lateral (select string_to_array(line.counts, ',')::int[] as numbers offset 0) as parsed -- without "offset", each sum would parse the text again
      where tenant is not null
      group by tenant, line.webhook, minute
    ) as by_minute,
      (values ${steps.join(', ')}) as step (unit, step_seconds),
      lateral (select by_minute.webhook union select '${allWebhooks}') as counted_for (webhook)
    group by 1, 2, 3, 4`
}

const liveBuild = `(select build from projections where name = '${projectionNames.deliveries}' and is_live)`
const readColumns = `tenant, step_seconds, webhook, starts_at, ${columnNames.join(', ')}`
/** The SQL of all counts of the live build. A span can have two rows, which must be added up. */
export const liveCounts = sqlText(`
  select ${readColumns} from delivery_statistics where build = ${liveBuild}
  union all select ${readColumns} from (${rowsOf(`(select * from gathered_delivery_counts where build = ${liveBuild})`)}) as counted`)

/** Deletes rows that are no longer kept, and those of former builds. Returns their number. @param day the first day of the history (`yyyy-mm-dd`) */
export async function expireStatistics(pool: Pool, day: string): Promise<number> {
  const isOfFormerBuild = `build < ${liveBuild}`
  const { rowCount } = await pool.query(
    `delete from delivery_statistics
     where starts_at < $1::date::timestamp at time zone 'UTC' or ${isOfFormerBuild}
       or (step_seconds = $2 and starts_at < clock_timestamp() - $3 * interval '1 day')`,
    [day, storedSteps.minute, daysOfMinutes],
  )
  await pool.query(`delete from gathered_delivery_counts where ${isOfFormerBuild}`)
  await pool.query(`delete from delivery_statistics_since where since < $1::date::timestamp at time zone 'UTC' or ${isOfFormerBuild}`, [
    day,
  ])
  return rowCount ?? 0
}
