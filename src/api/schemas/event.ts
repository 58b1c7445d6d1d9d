import type { MessageId, WebhookId } from '../../events/ids.ts'
import { cursor, eventName, instant, limit, messageId, timestamp, ulid } from './common.ts'
import type { CursorQuery } from './delivery.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

export interface PostEvent {
  readonly id?: MessageId
  readonly event: string
  readonly event_time?: string | null
  readonly source?: string | null
  readonly payload: object
}
const payload: JsonSchema = { type: 'object', description: 'Passed on byte for byte: key order, `1.10` and 20-digit integers included.' }
const event_time = nullable({ ...instant, description: 'When it originally happened; passed on as sent.' })
const source: JsonSchema = { type: ['string', 'null'], maxLength: 255, examples: ['order-service'] }
export const postEvent = named<PostEvent>(
  'PostEvent',
  object(
    {
      id: { ...messageId, description: 'Posted again with the same content it is not delivered again; made when absent.' },
      event: eventName,
      event_time,
      source,
      payload,
    },
    ['id', 'event_time', 'source'],
  ),
)
/** Messages of one batch at the most. */
const batchSize = 1_000
export interface PostEvents {
  readonly events: readonly PostEvent[]
}
export const postEvents = named<PostEvents>(
  'PostEvents',
  object({
    events: {
      type: 'array',
      minItems: 1,
      maxItems: batchSize,
      items: postEvent,
      description: 'Accepted or refused as a whole; no id may stand in it twice.',
    },
  }),
)
export const acceptedEvent = named('AcceptedEvent', object({ id: messageId, message: { const: 'Event accepted for processing.' } }))

const count: JsonSchema = { type: 'integer', minimum: 0 }
const statuses = ['routed', 'unmatched'] as const
const status: JsonSchema = { enum: statuses, description: 'Whether any webhook matched when it was routed.' }
const deliveryCounts = object({ total: count, pending: count, retrying: count, success: count, failed: count, discarded: count })
const rejections: JsonSchema = {
  type: 'array',
  description: 'Each time that other content was posted under this id, and refused; the first 100.',
  items: object({ accepted_at: timestamp, reason: { const: 'content_differs' } }),
}
export const event = named(
  'Event',
  object({
    id: messageId,
    event: { type: 'string' },
    event_time: nullable({ type: 'string' }),
    source: nullable({ type: 'string' }),
    status,
    deliveries: deliveryCounts,
    has_rejections: { type: 'boolean', description: 'Other content was posted under this id, and refused.' },
    rejections,
    accepted_at: timestamp,
    expires_at: timestamp,
    payload: { ...nullable(payload), description: 'As it was sent; null once it has expired.' },
  }),
)

/** Beyond so many deliveries of one event its counts are left to the event itself. */
export const countedDeliveries = 100
export const listedEvent = named(
  'ListedEvent',
  object({
    id: messageId,
    event: { type: 'string' },
    status,
    deliveries: {
      ...nullable(deliveryCounts),
      description: `Null when there are more than ${countedDeliveries}: the event itself has them.`,
    },
    accepted_at: timestamp,
    expires_at: timestamp,
  }),
)
export interface ListEvents extends CursorQuery {
  readonly since?: string
  readonly until?: string
  readonly event?: string
  readonly status?: (typeof statuses)[number]
}
export const listEventsQuery = object<ListEvents>(
  {
    since: { ...instant, description: 'Accepted at or after.' },
    until: { ...instant, description: 'Accepted before.' },
    event: {
      type: 'string',
      minLength: 1,
      maxLength: 255,
      pattern: '^[!-~]+$',
      'x-rule': '1-255 printable ASCII characters',
      description: 'Of this name, compared literally.',
    },
    status: { enum: statuses },
    cursor,
    limit,
  },
  ['since', 'until', 'event', 'status', 'cursor', 'limit'],
)

export interface ReplayEvent {
  readonly webhook_id?: WebhookId
}
export const replayEvent = named<ReplayEvent>(
  'ReplayEvent',
  object({ webhook_id: { ...ulid, description: 'To this webhook alone; default all that it was owed to.' } }, ['webhook_id']),
)
