import type { DeliveryStatus } from '../../events/delivery.ts'
import type { WebhookId } from '../../events/ids.ts'
import type { ResultFilter } from '../../ports/delivery-log.ts'
import { cursor, instant, limit, messageId, timestamp, ulid, uuid } from './common.ts'
import { exampleOf, type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

export const deliveryStatuses: readonly DeliveryStatus[] = ['pending', 'retrying', 'success', 'failed', 'discarded']
const count: JsonSchema = { type: 'integer', minimum: 0, examples: [1] }
const code = nullable({ type: 'integer', description: 'The HTTP status of the response, or null when there was none.', examples: [503] })
const reason = nullable({ type: 'string', description: 'A stable word for the cause of the failure.', examples: [null, 'timeout'] })
const reason_detail = nullable({
  type: 'string',
  description: 'What was wrong, in a sentence, when the receiver sent no readable status; else null.',
  examples: [null, 'The receiver sent no status within 15 s.'],
})

const attempt = named(
  'Attempt',
  object({
    number: { ...count, description: 'The number of the attempt within its chain, from 1.' },
    chain: { ...count, description: 'The number of the chain, from 1. Each replay starts the next chain.' },
    at: timestamp,
    status: { ...oneOf(['success', 'failed']), examples: ['failed'], description: 'How the attempt ended.' },
    response_code: code,
    duration_ms: nullable({
      ...count,
      description: 'The milliseconds until the status arrived, or null when no request was made.',
      examples: [42],
    }),
    reason,
    reason_detail,
    response_body: nullable({ type: 'string', description: 'The first 4 KiB of the response, as UTF-8.', examples: ['try later'] }),
    response_truncated: { type: 'boolean', description: 'Whether the response was longer than `response_body`.', examples: [false] },
  }),
)
export const delivery = named(
  'Delivery',
  object({
    id: uuid,
    event_id: messageId,
    webhook_id: ulid,
    event: { type: 'string', description: 'The name of the event.', examples: ['order.created'] },
    status: {
      ...oneOf(deliveryStatuses),
      description: '`failed` is a dead letter: there is no further attempt unless it is replayed.',
      examples: ['retrying'],
    },
    chain: { ...count, description: 'The number of the latest chain of attempts, from 1. Each replay starts the next chain.' },
    attempt_count: { ...count, description: 'The number of attempts in this chain.' },
    next_attempt_at: nullable({
      ...timestamp,
      examples: ['2026-03-31T00:45:05.000Z'],
      description: 'The time of the next attempt, or null when none is planned.',
    }),
    last_response_code: code,
    last_reason: reason,
    accepted_at: { ...timestamp, examples: ['2026-03-31T00:42:50.123Z'], description: 'The time at which the event was accepted.' },
    expires_at: { ...timestamp, examples: ['2026-04-30T00:42:50.000Z'], description: 'The delivery can be replayed until this time.' },
    attempts: { type: 'array', items: attempt, description: 'The attempts of all chains, oldest first. Only the newest 100 are shown.' },
  }),
)

/** The example of a delivery that succeeded at the first attempt. */
export const deliveredExample = exampleOf(delivery, {
  status: 'success',
  next_attempt_at: null,
  last_response_code: 204,
  attempts: [exampleOf(attempt, { status: 'success', response_code: 204, response_body: null })],
})
/** The example of a delivery that failed permanently. */
export const deadLetterExample = exampleOf(delivery, {
  status: 'failed',
  next_attempt_at: null,
  last_response_code: 422,
  attempts: [exampleOf(attempt, { response_code: 422, response_body: '{"error":"unknown order"}' })],
})
/** The example of a dead letter whose replay has begun. */
export const replayedExample = exampleOf(delivery, {
  status: 'pending',
  chain: 2,
  attempt_count: 0,
  next_attempt_at: null,
  last_response_code: null,
  attempts: [exampleOf(attempt, { response_code: 422, response_body: '{"error":"unknown order"}' })],
})

export interface CursorQuery {
  readonly cursor?: string
  readonly limit?: number
}
export const listQuery = object<CursorQuery>({ cursor, limit }, ['cursor', 'limit'])

/** Conditions on the event and the last result of a delivery. */
export const resultFilter = {
  event: {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^[A-Za-z0-9_.:/-]+$',
    'x-rule': '1-255 of A-Z a-z 0-9 _ . : / -',
    description: 'Only deliveries of events with this name.',
    examples: ['order.created'],
  },
  reason: {
    type: 'string',
    minLength: 1,
    maxLength: 100,
    pattern: '^[a-z0-9_]+$',
    'x-rule': '1-100 of a-z 0-9 _',
    description: 'Only deliveries whose `last_reason` is this word.',
    examples: ['timeout'],
  },
  code: {
    type: 'integer',
    minimum: 100,
    maximum: 999,
    description: 'Only deliveries whose `last_response_code` is this HTTP status.',
    examples: [503],
  },
} as const satisfies Readonly<Record<string, JsonSchema>>
const resultNames = Object.keys(resultFilter)

interface ListHistory extends CursorQuery, ResultFilter {
  readonly status?: DeliveryStatus
  readonly since?: string
  readonly until?: string
}
export const listHistoryQuery = object<ListHistory>(
  {
    status: { ...oneOf(deliveryStatuses), description: 'Only deliveries with this status.' },
    since: { ...instant, description: 'Events that were accepted at this time or later.' },
    until: { ...instant, description: 'Events that were accepted before this time.' },
    ...resultFilter,
    cursor,
    limit,
  },
  ['status', 'since', 'until', ...resultNames, 'cursor', 'limit'],
)
const webhook: JsonSchema = { ...ulid, description: 'Only deliveries to this webhook.' }
interface ListDeliveries extends ListHistory {
  readonly webhook?: WebhookId
}
export const listDeliveriesQuery = object<ListDeliveries>(
  {
    webhook,
    status: {
      ...oneOf(deliveryStatuses),
      description:
        'Only deliveries with this status. Without `webhook`, it cannot be `success`, and the default is `retrying`, `failed` and `discarded`.',
    },
    since: { ...instant, description: 'Events that were accepted at this time or later.' },
    until: { ...instant, description: 'Events that were accepted before this time.' },
    ...resultFilter,
    cursor,
    limit,
  },
  ['webhook', 'status', 'since', 'until', ...resultNames, 'cursor', 'limit'],
)

interface ListProblems extends ResultFilter {
  readonly webhook?: WebhookId
  readonly since?: string
  readonly until?: string
}
const endedFilter = {
  webhook,
  since: { ...instant, description: 'Deliveries that ended at this time or later.' },
  until: { ...instant, description: 'Deliveries that ended before this time.' },
  ...resultFilter,
}
export const listDeadLettersQuery = object<ListProblems & CursorQuery>({ ...endedFilter, cursor, limit }, [
  ...Object.keys(endedFilter),
  'cursor',
  'limit',
])
export const listProblemsQuery = object<ListProblems>(endedFilter, Object.keys(endedFilter))
export const problems = named(
  'Problems',
  object({
    count: { ...count, description: 'The number of dead letters in all groups, also in those that are not shown.', examples: [12] },
    is_complete: {
      type: 'boolean',
      description: 'False if there are more than 10,000 dead letters. The groups then cover the newest 10,000.',
      examples: [true],
    },
    groups: {
      type: 'array',
      description: 'At most 100 groups, the largest one first.',
      items: named(
        'Problem',
        object({
          webhook_id: ulid,
          event: { type: 'string', description: 'The name of the event.', examples: ['order.created'] },
          code,
          reason,
          count: { ...count, examples: [12] },
          first_at: { ...timestamp, description: 'The time at which the first of them ended.' },
          last_at: { ...timestamp, description: 'The time at which the last of them ended.' },
          first_accepted_at: { ...timestamp, description: 'The time at which the oldest of their events was accepted.' },
          last_accepted_at: { ...timestamp, description: 'The time at which the newest of their events was accepted.' },
          sample: { ...uuid, description: 'The id of the delivery that ended last.' },
        }),
      ),
    },
  }),
)
