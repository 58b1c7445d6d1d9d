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
      since: { ...instant, description: 'Events that were accepted at or after.' },
      until: { ...instant, description: 'And before; the moment of the request when absent or later than that.' },
      status: {
        enum: deliveryStatuses,
        description: 'Deliveries of this status; default those that ended in failure, `failed` and `discarded`.',
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
      description: 'A stable word for why it failed: what was begun until then goes on.',
      examples: ['webhook_inactive'],
    }),
    since: timestamp,
    until: timestamp,
    delivery_status: {
      enum: [...deliveryStatuses, null],
      description: 'Of the deliveries that it replays; null for those that ended in failure, `failed` and `discarded`.',
    },
    replayed: { ...count, description: 'Deliveries that it has begun anew.' },
    skipped: { ...count, description: 'Deliveries whose payload is no longer kept.' },
    created_at: timestamp,
    updated_at: timestamp,
    finished_at: nullable(timestamp),
  }),
)
