import type { WebhookId } from '../../events/ids.ts'
import { msPerDay } from '../../lib/days.ts'
import { type CountName, countNames } from '../../projections/delivery-statistics.ts'
import { busiestWebhooks, countedSince, keptSince, quantileOf, readStatistics, type Statistics } from '../../projections/read-statistics.ts'
import { visibleWebhooks } from '../delivery-pages.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { invalid } from '../errors.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { defaultStep, statisticsQuery, statisticsReport, stepSeconds } from '../schemas/statistics.ts'
import { parseTimeRange } from '../time-range.ts'

/** The most spans of a series, and of each series when every webhook has one. */
const maxSpans = { together: 1_500, byWebhook: 50 }
/** The most webhooks that have counts of their own in a response. */
const maxWebhooks = 100

/** The route with the counts of deliveries over time. */
export const createStatisticsRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    method: 'GET',
    path: '/v1/statistics/deliveries',
    operationId: 'getDeliveryStatistics',
    summary: 'Count accepted events and attempts over time',
    description:
      'Returns for each span of time how many events were accepted, how the attempts ended, and how long the requests took. A span without any is left out. Minutes are kept for two days, and hours for the retention. All spans are in UTC. After a crash, an event that was being routed can be counted twice.',
    tag: 'Deliveries',
    credentials: 'bearer-or-key',
    scope: 'read:webhooks',
    query: statisticsQuery,
    responses: { 200: { description: 'The counts.', schema: envelope(statisticsReport) } },
    async handler(request) {
      const { query, caller } = request
      const isByWebhook = query.by === 'webhook'
      const range = rangeOf(query, deps.now())
      const webhooks = await visibleWebhooks(deps, request, query.webhook)
      const counted = { tenant: caller.tenant, webhooks, ...range }
      const isOfNone = webhooks?.length === 0
      const [rows, rowsOfWebhooks, counted_since] = await Promise.all([
        isOfNone ? [] : readStatistics(deps.pool, { ...counted, byWebhook: false }),
        isOfNone || !isByWebhook ? [] : readBusiest(deps.pool, counted),
        countedSince(deps.pool),
      ])
      const { since, until, step } = range
      const hasAccepted = webhooks === undefined
      return envelopeResult(200, {
        ...{ since, until, step_seconds: step, counted_since },
        totals: totalsOf(rows, hasAccepted),
        spans: rows.map((row) => spanOf(row, hasAccepted)),
        webhooks: inOrder(rowsOfWebhooks).map(([webhook_id, own]) => ({
          webhook_id,
          totals: totalsOf(own, false),
          spans: own.map((row) => spanOf(row, false)),
        })),
      } satisfies shown.DeliveryStatistics)
    },
  }),
]

/** Returns the range of a query, which begins with a whole span. Throws validation_failed. */
function rangeOf(query: { since?: string; until?: string; step?: keyof typeof stepSeconds; by?: 'webhook' }, now: number) {
  const step = stepSeconds[query.step ?? defaultStep]
  const given = parseTimeRange(query)
  const untilMs = given.until === undefined ? now : Date.parse(given.until)
  const sinceMs = given.since === undefined ? untilMs - msPerDay : Date.parse(given.since)
  const firstMs = Math.floor(sinceMs / 1_000 / step) * step * 1_000
  const spans = query.by === 'webhook' ? maxSpans.byWebhook : maxSpans.together
  const kept = keptSince(step, now)
  if (sinceMs >= untilMs) throw invalid([{ path: 'since', message: 'must be earlier than until' }])
  if (untilMs - firstMs > spans * step * 1_000)
    throw invalid([
      query.step === undefined
        ? { path: 'since', message: `must be later, or \`step\` longer, because the range would have more than ${spans} spans` }
        : { path: 'step', message: `must be longer, because the range would have more than ${spans} spans` },
    ])
  if (kept !== null && firstMs < kept - step * 1_000)
    throw invalid([{ path: 'step', message: 'must be 1h or longer, because minutes are kept for two days' }])
  return { since: new Date(firstMs).toISOString(), until: new Date(untilMs).toISOString(), step }
}

/** Returns the counts of the webhooks with the most attempts. They are chosen first, because a tenant may have thousands. */
async function readBusiest(pool: ApiDependencies['pool'], counted: Parameters<typeof busiestWebhooks>[1]): Promise<Statistics[]> {
  const webhooks = await busiestWebhooks(pool, counted, maxWebhooks)
  return readStatistics(pool, { ...counted, webhooks, byWebhook: true })
}

/** Returns the rows of each webhook, the one with the most attempts first. */
function inOrder(rows: readonly Statistics[]): [WebhookId, Statistics[]][] {
  const byWebhook = [...Map.groupBy(rows, ({ webhook }) => webhook as WebhookId)]
  const attemptsOf = (own: readonly Statistics[]) =>
    own.reduce((sum, { success, retrying, failed }) => sum + success + retrying + failed, 0)
  return byWebhook.sort(([, a], [, b]) => attemptsOf(b) - attemptsOf(a))
}

type Counts = Omit<Statistics, 'at' | 'webhook'>
const countsOf = ({ durations, ...counts }: Counts, hasAccepted: boolean): shown.StatisticsCounts => ({
  ...counts,
  accepted: hasAccepted ? counts.accepted : null,
  p50_ms: quantileOf(durations, 0.5),
  p95_ms: quantileOf(durations, 0.95),
  p99_ms: quantileOf(durations, 0.99),
})
const spanOf = ({ at, webhook, ...counts }: Statistics, hasAccepted: boolean) => ({ at, ...countsOf(counts, hasAccepted) })
function totalsOf(rows: readonly Statistics[], hasAccepted: boolean) {
  const sums = Object.fromEntries(countNames.map((name) => [name, rows.reduce((sum, row) => sum + row[name], 0)])) as Record<
    CountName,
    number
  >
  const durations = (rows[0]?.durations ?? []).map((_, i) => rows.reduce((sum, row) => sum + row.durations[i]!, 0))
  return countsOf({ ...sums, durations }, hasAccepted)
}
