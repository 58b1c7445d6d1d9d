import type { DeliveryStatus } from '../../events/delivery.ts'
import type { WebhookId } from '../../events/ids.ts'
import { cursor, instant, limit, messageId, timestamp, ulid, uuid } from './common.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

export const deliveryStatuses: readonly DeliveryStatus[] = ['pending', 'retrying', 'success', 'failed', 'discarded']
const count: JsonSchema = { type: 'integer', minimum: 0 }
const code = nullable({ type: 'integer', description: 'The HTTP status of the response, or null when there was none.' })
const reason = nullable({ type: 'string', description: 'A stable word for the cause of the failure.', examples: ['timeout'] })
const reason_detail = nullable({
  type: 'string',
  description: 'What was wrong, in a sentence, when the receiver sent no readable status; else null.',
  examples: ['The receiver sent no status within 15 s.'],
})

const attempt = named(
  'Attempt',
  object({
    number: { ...count, description: 'The number of the attempt within its chain, from 1.' },
    chain: { ...count, description: 'The number of the chain, from 1. Each replay starts the next chain.' },
    at: timestamp,
    status: { enum: ['success', 'failed'] },
    response_code: code,
    duration_ms: nullable(count),
    reason,
    reason_detail,
    response_body: nullable({ type: 'string', description: 'The first 4 KiB of the response, as UTF-8.' }),
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
    status: { enum: deliveryStatuses, description: '`failed` is a dead letter: there is no further attempt unless it is replayed.' },
    chain: count,
    attempt_count: { ...count, description: 'The number of attempts in this chain.' },
    next_attempt_at: nullable(timestamp),
    last_response_code: code,
    last_reason: reason,
    accepted_at: timestamp,
    expires_at: { ...timestamp, description: 'The delivery can be replayed until this time.' },
    attempts: { type: 'array', items: attempt, description: 'The attempts of all chains, oldest first. Only the newest 100 are shown.' },
  }),
)

export interface CursorQuery {
  readonly cursor?: string
  readonly limit?: number
}
export const listQuery = object<CursorQuery>({ cursor, limit }, ['cursor', 'limit'])

interface ListHistory extends CursorQuery {
  readonly status?: DeliveryStatus
  readonly since?: string
  readonly until?: string
}
export const listHistoryQuery = object<ListHistory>(
  {
    status: { enum: deliveryStatuses },
    since: { ...instant, description: 'Events that were accepted at this time or later.' },
    until: { ...instant, description: 'Events that were accepted before this time.' },
    cursor,
    limit,
  },
  ['status', 'since', 'until', 'cursor', 'limit'],
)

interface ListDeadLetters extends CursorQuery {
  readonly webhook?: WebhookId
  readonly since?: string
}
export const listDeadLettersQuery = object<ListDeadLetters>(
  { webhook: ulid, since: { ...instant, description: 'Deliveries that ended at this time or later.' }, cursor, limit },
  ['webhook', 'since', 'cursor', 'limit'],
)
