import { type JobStatus, jobStatuses } from '../../commands/replay-jobs.ts'
import type { DeliveryStatus } from '../../events/delivery.ts'
import type { WebhookId } from '../../events/ids.ts'
import type { ResultFilter } from '../../ports/delivery-log.ts'
import { cursor, instant, limit, timestamp, ulid } from './common.ts'
import { type CursorQuery, deliveryStatuses, resultFilter } from './delivery.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

export interface ReplayWebhook extends ResultFilter {
  readonly since: string
  readonly until?: string
  readonly status?: DeliveryStatus
  readonly dry_run?: boolean
}
const replayFields: Readonly<Record<string, JsonSchema>> = {
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
  ...resultFilter,
  dry_run: {
    type: 'boolean',
    description: 'Whether to start nothing, and to return what would be replayed. Default: false.',
    examples: [false],
  },
}
const optionalFields = Object.keys(replayFields).filter((name) => name !== 'since')
export const replayWebhook = named<ReplayWebhook>('ReplayWebhook', object(replayFields, optionalFields))
export interface ReplayDeliveries extends ReplayWebhook {
  readonly webhooks?: readonly WebhookId[]
}
export const replayDeliveries = named<ReplayDeliveries>(
  'ReplayDeliveries',
  object(
    {
      webhooks: {
        type: 'array',
        items: ulid,
        minItems: 1,
        maxItems: 1_000,
        uniqueItems: true,
        description: 'Only deliveries to these webhooks. Default: to all.',
      },
      ...replayFields,
    },
    ['webhooks', ...optionalFields],
  ),
)

const count: JsonSchema = { type: 'integer', minimum: 0, examples: [120] }
export const replayPreview = named(
  'ReplayPreview',
  object({
    count: { ...count, description: 'The number of deliveries that would be replayed.' },
    is_complete: {
      type: 'boolean',
      description: 'False if there are more than the 10,000 deliveries that were counted.',
      examples: [true],
    },
    without_payload: { ...count, examples: [0], description: 'How many of them would be skipped, because their payload has expired.' },
    oldest: nullable({
      ...timestamp,
      description: 'The time at which the oldest of their events was accepted, or null without deliveries.',
    }),
    newest: nullable({
      ...timestamp,
      description: 'The time at which the newest of their events was accepted, or null without deliveries.',
    }),
    webhooks: { ...count, examples: [1], description: 'The number of webhooks that have such deliveries.' },
  }),
)
export const job = named(
  'Job',
  object({
    id: ulid,
    type: { ...oneOf(['replay']), description: 'The kind of work.' },
    webhook_id: ulid,
    status: { ...oneOf(jobStatuses), description: 'Only a job that is running can be cancelled.' },
    reason: nullable({
      type: 'string',
      description: 'A stable word that says why the job failed. Deliveries that it had already replayed continue.',
      examples: [null, 'webhook_inactive'],
    }),
    since: { ...timestamp, examples: ['2026-03-31T00:00:00.000Z'] },
    until: { ...timestamp, examples: ['2026-03-31T12:00:00.000Z'] },
    delivery_status: nullable({
      ...oneOf(deliveryStatuses),
      description: 'The status of the deliveries that the job replays. Null stands for `failed` and `discarded`.',
      examples: ['failed'],
    }),
    delivery_event: nullable({
      type: 'string',
      description: 'The name of the event of the deliveries that the job replays. Null stands for all.',
      examples: [null],
    }),
    delivery_reason: nullable({
      type: 'string',
      description: 'The last reason of the deliveries that the job replays. Null stands for all.',
      examples: [null],
    }),
    delivery_code: nullable({
      type: 'integer',
      description: 'The last HTTP status of the deliveries that the job replays. Null stands for all.',
      examples: [null],
    }),
    expected: nullable({
      ...count,
      description: 'The number of deliveries that the job had to replay when it was started, or null if there were more than 10,000.',
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

export const startedReplays = named(
  'StartedReplays',
  object({
    jobs: { type: 'array', items: job, description: 'A job for each webhook.' },
    skipped: {
      type: 'array',
      description: 'The webhooks that have such deliveries, and for which no job was started.',
      items: object({
        webhook_id: ulid,
        reason: { ...oneOf(['webhook_inactive', 'replay_running']), description: 'Why no job was started.' },
      }),
    },
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
