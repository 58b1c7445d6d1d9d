import type { Pool } from 'pg'
import type { TenantId, WebhookId } from '../events/ids.ts'
import { msPerDay } from '../lib/days.ts'
import { SqlPart, sqlOn, sqlText } from '../lib/sql.ts'
import {
  allWebhooks,
  type CountName,
  countNames,
  daysOfMinutes,
  durationBounds,
  durationNames,
  liveCounts,
  storedSteps,
} from './delivery-statistics.ts'
import { projectionNames } from './names.ts'

/** The counts of one span of time, of one webhook or of several together. */
export interface Statistics extends Readonly<Record<CountName, number>> {
  /** RFC 3339 time of the beginning of the span. */
  readonly at: string
  /** The webhook, or null in the counts of several webhooks together. */
  readonly webhook: WebhookId | null
  /** The numbers of requests by their duration, in the order of `durationBounds`. */
  readonly durations: readonly number[]
}
interface StatisticsQuery {
  readonly tenant: TenantId
  /** The webhooks to count, or undefined for all webhooks of the tenant. Accepted messages belong to no webhook, so only the latter counts them. */
  readonly webhooks?: readonly WebhookId[] | undefined
  /** RFC 3339 time of the beginning of the first span. */
  readonly since: string
  readonly until: string
  /** The length of a span in seconds, which is a multiple of a minute or an hour. */
  readonly step: number
  /** Whether each webhook is counted for itself. */
  readonly byWebhook: boolean
}

/** Returns the length of the stored spans that add up to spans of `step` seconds. */
const storedStepOf = (step: number): number => (step % storedSteps.hour === 0 ? storedSteps.hour : storedSteps.minute)
/** Returns the time since which spans of this length are kept, in milliseconds since 1970, or null if they are kept as long as the history. */
export const keptSince = (step: number, now: number): number | null =>
  storedStepOf(step) === storedSteps.minute ? now - daysOfMinutes * msPerDay : null

const liveBuild = sqlText(`(select build from projections where name = '${projectionNames.deliveries}' and is_live)`)
const sums = sqlText(
  [
    ...countNames.map((name) => `sum(${name})::int as ${name}`),
    `array[${durationNames.map((name) => `sum(${name})`).join(', ')}]::int[] as durations`,
  ].join(', '),
)

/** Returns the counts of each span that has any, oldest first. */
export async function readStatistics(pool: Pool, query: StatisticsQuery): Promise<Statistics[]> {
  const { step, byWebhook } = query
  return sqlOn(pool)<Statistics>`
    select to_timestamp(floor(extract(epoch from starts_at) / ${step}::int) * ${step}::int) as at,
      ${sqlText(byWebhook ? 'webhook' : 'null::text as webhook')}, ${sums}
    from (${liveCounts}) as counted where ${rowsOf(query)}
    group by 1, 2 order by 1, 2`
}

/** Returns the webhooks with the most attempts, at most `limit`. */
export async function busiestWebhooks(pool: Pool, query: Omit<StatisticsQuery, 'byWebhook'>, limit: number): Promise<WebhookId[]> {
  const rows = await sqlOn(pool)<{ webhook: WebhookId }>`
    select webhook from (${liveCounts}) as counted where ${rowsOf({ ...query, byWebhook: true })}
    group by 1 order by sum(success + retrying + failed) desc, 1 limit ${limit}`
  return rows.map(({ webhook }) => webhook)
}

/** Returns the condition of the rows that a query counts. */
function rowsOf({ tenant, webhooks, since, until, step, byWebhook }: StatisticsQuery): SqlPart {
  const chosen = webhooks ?? (byWebhook ? null : [allWebhooks])
  const values = [tenant, storedStepOf(step), since, until, ...(chosen === null ? [] : [chosen])]
  const conditions = (first: number) => [
    `tenant = $${first} and step_seconds = $${first + 1} and starts_at >= $${first + 2} and starts_at < $${first + 3}`,
    chosen === null ? `webhook <> '${allWebhooks}'` : `webhook = any ($${first + 4}::text[])`,
  ]
  return new SqlPart((first) => conditions(first).join(' and '), values)
}

/** Returns the time since which the live build has counted all events, or null if it has counted every event that is kept. */
export async function countedSince(pool: Pool): Promise<string | null> {
  const [row] = await sqlOn(pool)<{ since: string }>`select since from delivery_statistics_since where build = ${liveBuild}`
  return row?.since ?? null
}

/** Returns about how many milliseconds this share of the requests took at most, or null without requests. The bounds of the counts limit its precision. */
export function quantileOf(durations: readonly number[], share: number): number | null {
  const total = durations.reduce((sum, count) => sum + count, 0)
  let before = 0
  for (const [i, count] of durations.entries()) {
    if (count > 0 && before + count >= share * total) {
      const from = durationBounds[i - 1] ?? 0
      const to = durationBounds[i] ?? from
      return Math.round(from + ((to - from) * (share * total - before)) / count)
    }
    before += count
  }
  return null
}
