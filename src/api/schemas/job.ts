import { type JobStatus, jobStatuses } from '../../commands/replay-jobs.ts'
import type { DeliveryStatus } from '../../events/delivery.ts'
import type { WebhookId } from '../../events/ids.ts'
import { cursor, instant, limit, timestamp, ulid } from './common.ts'
import { type CursorQuery, deliveryStatuses } from './delivery.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

export interface ReplayWebhook {
  readonly since: string
  readonly until?: string
  readonly status?: DeliveryStatus
}
export const replayWebhook = named<ReplayWebhook>(
  'ReplayWebhook',
  object(
    {
      since: { ...instant, description: 'Events that were accepted at this time or later.' },
      until: {
        ...instant,
        description: 'Events that were accepted before this time. Default, and at the latest: the time of the request.',
      },
      status: {
        ...oneOf(deliveryStatuses),
        examples: ['failed'],
        description: 'Deliveries with this status. Default: those with `failed` or `discarded`.',
      },
    },
    ['until', 'status'],
  ),
)

const count: JsonSchema = { type: 'integer', minimum: 0, examples: [120] }
export const job = named(
  'Job',
  object({
    id: ulid,
    type: { ...oneOf(['replay']), description: 'The kind of work.' },
    webhook_id: ulid,
    status: { ...oneOf(jobStatuses), description: 'Only a job that is running can be cancelled.' },
    reason: nullable({
      type: 'string',
      description: 'A stable word for why the job failed. Deliveries that it had already replayed continue.',
      examples: [null, 'webhook_inactive'],
    }),
    since: { ...timestamp, examples: ['2026-03-31T00:00:00.000Z'] },
    until: { ...timestamp, examples: ['2026-03-31T12:00:00.000Z'] },
    delivery_status: nullable({
      ...oneOf(deliveryStatuses),
      description: 'The status of the deliveries that the job replays. Null stands for `failed` and `discarded`.',
      examples: ['failed'],
    }),
    replayed: { ...count, description: 'The number of deliveries that the job has replayed.' },
    skipped: {
      ...count,
      examples: [0],
      description: 'The number of deliveries that could not be replayed, because their payload has expired.',
    },
    created_at: { ...timestamp, examples: ['2026-03-31T12:30:00.000Z'] },
    updated_at: { ...timestamp, examples: ['2026-03-31T12:30:02.000Z'] },
    finished_at: nullable({ ...timestamp, description: 'The time at which the job ended, or null while it runs.', examples: [null] }),
  }),
)

interface ListJobs extends CursorQuery {
  readonly webhook?: WebhookId
  readonly status?: JobStatus
}
export const listJobsQuery = object<ListJobs>(
  {
    webhook: { ...ulid, description: 'Only jobs of this webhook.' },
    status: { ...oneOf(jobStatuses), description: 'Only jobs with this status.' },
    cursor,
    limit,
  },
  ['webhook', 'status', 'cursor', 'limit'],
)
