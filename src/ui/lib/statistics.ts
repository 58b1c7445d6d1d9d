import type { DeliveryStatistics, Envelope, StatisticsCounts, StatisticsSpan } from '../../api/responses.ts'
import { withQuery } from './api.ts'
import { type Query, refreshMs, useQuery } from './query.ts'
import { type Range, ranges } from './time.ts'

/** The length of the spans of each range. A range has 24 to 60 of them. */
const steps: Readonly<Record<Range, readonly [name: string, seconds: number]>> = {
  '1h': ['1m', 60],
  '24h': ['1h', 3_600],
  '7d': ['6h', 21_600],
  '30d': ['1d', 86_400],
}

/** Returns the path of the statistics of a range that ends with the present span, or of the range before it. */
export function statisticsPath(
  range: Range,
  { isBefore = false, ...filter }: { isBefore?: boolean; webhook?: string; by?: 'webhook' } = {},
): string {
  const [step, seconds] = steps[range]
  // The end is rounded up, so that the path stays the same until the next span begins.
  const end = (Math.floor(Date.now() / 1_000 / seconds) + 1) * seconds
  const until = isBefore ? end - ranges[range] * 3_600 : end
  const timeOf = (time: number) => new Date(time * 1_000).toISOString()
  return withQuery('/v1/statistics/deliveries', { since: timeOf(until - ranges[range] * 3_600), until: timeOf(until), step, ...filter })
}
export const useStatistics = (path: string): Query<Envelope<DeliveryStatistics>> =>
  useQuery<Envelope<DeliveryStatistics>>(path, { everyMs: 2 * refreshMs })

/** The counts that charts show. */
export type ShownCounts = Pick<StatisticsCounts, 'accepted' | 'success' | 'retrying' | 'failed' | 'p95_ms'>
export type ShownSpan = ShownCounts & Pick<StatisticsSpan, 'at'>
const none = { accepted: 0, success: 0, retrying: 0, failed: 0, p95_ms: null }
/** Returns a span for every step of the range, also for those without any counts. Spans that were not counted yet are left out. */
export function everySpan({
  since,
  until,
  step_seconds,
  counted_since,
  spans,
}: Omit<DeliveryStatistics, 'totals' | 'webhooks'>): ShownSpan[] {
  const byTime = new Map(spans.map((span) => [Date.parse(span.at), span]))
  const stepMs = step_seconds * 1_000
  const all: ShownSpan[] = []
  for (let at = Date.parse(since); at < Date.parse(until); at += stepMs)
    if (counted_since === null || at + stepMs > Date.parse(counted_since))
      all.push(byTime.get(at) ?? { at: new Date(at).toISOString(), ...none })
  return all
}
export const failedOf = ({ retrying, failed }: ShownCounts): number => retrying + failed
export const attemptsOf = (counts: ShownCounts): number => counts.success + failedOf(counts)
/** The fewest attempts of which a percentile says anything: with fewer, 95 % of them are all of them. */
const fewestForPercentile = 20
/** Returns the time within which 95 % of the receivers responded (ms), or null if there were too few attempts. */
export const p95Of = (counts: ShownCounts): number | null => (attemptsOf(counts) < fewestForPercentile ? null : counts.p95_ms)
/** Returns the share of attempts that succeeded, or null without attempts. */
export const successShareOf = (counts: ShownCounts): number | null =>
  attemptsOf(counts) === 0 ? null : counts.success / attemptsOf(counts)
