import type { WebhookId } from '../../events/ids.ts'
import { instant, timestamp, ulid } from './common.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

/** The lengths of spans that a caller can ask for, in seconds. */
export const stepSeconds = { '1m': 60, '5m': 300, '15m': 900, '1h': 3_600, '6h': 21_600, '1d': 86_400 } as const
export const defaultStep = '1h'

const count = (description: string, example = 0): JsonSchema => ({ type: 'integer', minimum: 0, description, examples: [example] })
const duration = (share: number): JsonSchema =>
  nullable(count(`About how many milliseconds ${share} % of the requests took at most. Null without requests.`, 42))
const counts = {
  accepted: nullable(
    count(
      'Events that were accepted. Null in the counts of single webhooks and of an API key, because an event belongs to no webhook.',
      120,
    ),
  ),
  success: count('Attempts that succeeded.', 230),
  retrying: count('Attempts that failed, and that are followed by another.', 4),
  failed: count('Deliveries that ended in failure.', 1),
  discarded: count('Deliveries that were discarded, because the webhook was inactive or deleted.'),
  replayed: count('Deliveries that a replay sent again.'),
  http_2xx: count('Responses with a status from 200 to 299.', 230),
  http_3xx: count('Responses with a status from 300 to 399.'),
  http_4xx: count('Responses with a status from 400 to 499.', 1),
  http_5xx: count('Responses with a status from 500 to 599.', 3),
  no_response: count('Requests without a response that could be read.', 1),
  p50_ms: duration(50),
  p95_ms: duration(95),
  p99_ms: duration(99),
}
const totals = named('StatisticsTotals', object(counts))
const spans: JsonSchema = {
  type: 'array',
  description: 'The spans of time with any count, oldest first.',
  items: named('StatisticsSpan', object({ at: { ...timestamp, description: 'The beginning of the span.' }, ...counts })),
}
export const statisticsReport = named(
  'DeliveryStatistics',
  object({
    since: { ...timestamp, description: 'The beginning of the first span.' },
    until: { ...timestamp, description: 'The end of the range.' },
    step_seconds: count('The length of a span.', 3_600),
    counted_since: nullable({
      ...timestamp,
      description: 'The time since which everything is counted. Null if everything that is kept is counted.',
      examples: [null],
    }),
    totals,
    spans,
    webhooks: {
      type: 'array',
      description: 'With `by=webhook`, the counts of the 100 webhooks with the most attempts. Otherwise empty.',
      items: object({ webhook_id: ulid, totals, spans }),
    },
  }),
)

interface StatisticsQuery {
  readonly since?: string
  readonly until?: string
  readonly step?: keyof typeof stepSeconds
  readonly webhook?: WebhookId
  readonly by?: 'webhook'
}
export const statisticsQuery = object<StatisticsQuery>(
  {
    since: { ...instant, description: 'The range begins with the span of this time. Default: 24 hours before `until`.' },
    until: { ...instant, description: 'The range ends before this time. Default: now.' },
    step: { ...oneOf(Object.keys(stepSeconds)), description: `The length of a span. Default \`${defaultStep}\`.`, examples: [defaultStep] },
    webhook: { ...ulid, description: 'Only attempts for this webhook.' },
    by: { ...oneOf(['webhook']), description: 'Count each webhook for itself too.' },
  },
  ['since', 'until', 'step', 'webhook', 'by'],
)
