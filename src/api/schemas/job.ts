import type { DeliveryStatus } from '../../events/delivery.ts'
import { instant, timestamp, ulid } from './common.ts'
import { deliveryStatuses } from './delivery.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

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
        enum: deliveryStatuses,
        description: 'Deliveries with this status. Default: those with `failed` or `discarded`.',
      },
    },
    ['until', 'status'],
  ),
)

const count: JsonSchema = { type: 'integer', minimum: 0 }
export const job = named(
  'Job',
  object({
    id: ulid,
    type: { enum: ['replay'] },
    webhook_id: ulid,
    status: { enum: ['running', 'completed', 'cancelled', 'failed'] },
    reason: nullable({
      type: 'string',
      description: 'A stable word for why the job failed. Deliveries that it had already replayed continue.',
      examples: ['webhook_inactive'],
    }),
    since: timestamp,
    until: timestamp,
    delivery_status: {
      enum: [...deliveryStatuses, null],
      description: 'The status of the deliveries that the job replays. Null stands for `failed` and `discarded`.',
    },
    replayed: { ...count, description: 'The number of deliveries that the job has replayed.' },
    skipped: { ...count, description: 'The number of deliveries that could not be replayed, because their payload has expired.' },
    created_at: timestamp,
    updated_at: timestamp,
    finished_at: nullable(timestamp),
  }),
)
