import type { DeliveryStatus } from '../../events/delivery.ts'
import type { WebhookId } from '../../events/ids.ts'
import { cursor, instant, limit, messageId, timestamp, ulid, uuid } from './common.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

export const deliveryStatuses: readonly DeliveryStatus[] = ['pending', 'retrying', 'success', 'failed', 'discarded']
const count: JsonSchema = { type: 'integer', minimum: 0 }
const code = nullable({ type: 'integer', description: 'The HTTP status; null when no answer came.' })
const reason = nullable({ type: 'string', description: 'A stable word for why it was not a success.', examples: ['timeout'] })

const attempt = named(
  'Attempt',
  object({
    number: { ...count, description: 'From 1 within its chain.' },
    chain: { ...count, description: '1 for the first delivery; each replay begins the next.' },
    at: timestamp,
    status: { enum: ['success', 'failed'] },
    response_code: code,
    duration_ms: nullable(count),
    reason,
    response_body: nullable({ type: 'string', description: 'The first 4 KiB of the answer, as UTF-8.' }),
    response_truncated: { type: 'boolean' },
  }),
)
export const delivery = named(
  'Delivery',
  object({
    id: uuid,
    event_id: messageId,
    webhook_id: ulid,
    event: { type: 'string' },
    status: { enum: deliveryStatuses, description: '`failed` is a dead letter: no further attempt comes by itself.' },
    chain: count,
    attempt_count: { ...count, description: 'Attempts of this chain.' },
    next_attempt_at: nullable(timestamp),
    last_response_code: code,
    last_reason: reason,
    accepted_at: timestamp,
    expires_at: { ...timestamp, description: 'Until then it can be replayed.' },
    attempts: { type: 'array', items: attempt, description: 'Oldest first; of more than 100 the newest.' },
  }),
)

export interface CursorQuery {
  readonly cursor?: string
  readonly limit?: number
}
export const listQuery = object<CursorQuery>({ cursor, limit }, ['cursor', 'limit'])

export interface ListHistory extends CursorQuery {
  readonly status?: DeliveryStatus
  readonly since?: string
  readonly until?: string
}
export const listHistoryQuery = object<ListHistory>(
  {
    status: { enum: deliveryStatuses },
    since: { ...instant, description: 'Accepted at or after.' },
    until: { ...instant, description: 'Accepted before.' },
    cursor,
    limit,
  },
  ['status', 'since', 'until', 'cursor', 'limit'],
)

export interface ListDeadLetters extends CursorQuery {
  readonly webhook?: WebhookId
  readonly since?: string
}
export const listDeadLettersQuery = object<ListDeadLetters>(
  { webhook: ulid, since: { ...instant, description: 'Given up at or after.' }, cursor, limit },
  ['webhook', 'since', 'cursor', 'limit'],
)
