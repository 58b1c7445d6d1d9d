import type { MessageId, WebhookId } from '../../events/ids.ts'
import { cursor, eventName, instant, limit, messageId, timestamp, ulid } from './common.ts'
import type { CursorQuery } from './delivery.ts'
import { type JsonSchema, named, nullable, object, oneOf, word } from './json-schema.ts'

export interface PostEvent {
  readonly id?: MessageId
  readonly event: string
  readonly event_time?: string | null
  readonly source?: string | null
  readonly payload: object
}
export const payload: JsonSchema = {
  type: 'object',
  additionalProperties: true,
  description: 'Any JSON object. Delivered byte for byte, including key order, `1.10` and integers of 20 digits.',
  examples: [{ order_id: 'ord_991', amount: 12.5 }],
}
export const event_time = nullable({ ...instant, description: 'The time at which the event happened. It is delivered exactly as sent.' })
export const source: JsonSchema = {
  type: ['string', 'null'],
  maxLength: 255,
  'x-well-formed': true,
  description: 'The system that the event comes from.',
  examples: ['order-service'],
}
export const postEvent = named<PostEvent>(
  'PostEvent',
  object(
    {
      id: {
        ...messageId,
        description: 'An event that is posted again under the same id is not delivered again. Without an id, the event gets a new one.',
      },
      event: eventName,
      event_time,
      source,
      payload,
    },
    ['id', 'event_time', 'source'],
  ),
)
/** The most messages in one batch. */
const batchSize = 1_000
interface PostEvents {
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
      description: 'The batch is accepted or refused as a whole. No id may occur twice in it.',
    },
  }),
)
export const acceptedEvent = named('AcceptedEvent', object({ id: messageId, message: word('Event accepted for processing.') }))

const count: JsonSchema = { type: 'integer', minimum: 0, examples: [0] }
const statuses = ['routed', 'unmatched'] as const
const status: JsonSchema = { ...oneOf(statuses), description: 'Whether any webhook matched the event when it was routed.' }
const exampleOne = { ...count, examples: [1] }
const deliveryCounts = object({
  total: exampleOne,
  pending: count,
  retrying: count,
  success: exampleOne,
  failed: count,
  discarded: count,
})
const rejections: JsonSchema = {
  type: 'array',
  description: 'The first 100 times that other content was posted under this id. That content was rejected.',
  items: object({ accepted_at: timestamp, reason: word('content_differs') }),
  examples: [[]],
}
const has_rejections: JsonSchema = {
  type: 'boolean',
  description: 'Whether other content was posted under this id, and rejected.',
  examples: [false],
}
const shownName: JsonSchema = { type: 'string', description: 'The name of the event.', examples: ['order.created'] }
export const event = named(
  'Event',
  object({
    id: messageId,
    event: shownName,
    event_time: nullable({
      type: 'string',
      description: 'The time at which the event happened, as sent.',
      examples: ['2026-03-31T00:42:50Z'],
    }),
    source: nullable({ type: 'string', description: 'The system that the event comes from.', examples: ['order-service'] }),
    status,
    deliveries: deliveryCounts,
    has_rejections,
    rejections,
    accepted_at: { ...timestamp, examples: ['2026-03-31T00:42:50.123Z'], description: 'The time at which the event was accepted.' },
    expires_at: {
      ...timestamp,
      examples: ['2026-04-30T00:42:50.123Z'],
      description: 'The event and its deliveries can be read and replayed until this time.',
    },
    payload_reason: {
      type: ['string', 'null'],
      description:
        'Why the payload is not shown, or null if it is: `payload_expired`, `payload_erased` (its erasure was requested), or `payload_unreadable`.',
      examples: [null],
    },
    payload: { ...nullable(payload), description: 'The payload exactly as sent, or null (see `payload_reason`).' },
  }),
)

/** The list shows no counts for an event with more deliveries than this, because counting them is slow. */
export const countedDeliveries = 100
export const listedEvent = named(
  'ListedEvent',
  object({
    id: messageId,
    event: shownName,
    status,
    deliveries: {
      ...nullable(deliveryCounts),
      description: `Null when there are more than ${countedDeliveries} deliveries. Reading the event itself shows their counts.`,
    },
    has_rejections,
    accepted_at: { ...timestamp, examples: ['2026-03-31T00:42:50.123Z'], description: 'The time at which the event was accepted.' },
    expires_at: {
      ...timestamp,
      examples: ['2026-04-30T00:42:50.123Z'],
      description: 'The event and its deliveries can be read and replayed until this time.',
    },
  }),
)
interface ListEvents extends CursorQuery {
  readonly since?: string
  readonly until?: string
  readonly event?: string
  readonly status?: (typeof statuses)[number]
}
export const listEventsQuery = object<ListEvents>(
  {
    since: { ...instant, description: 'Events that were accepted at this time or later.' },
    until: { ...instant, description: 'Events that were accepted before this time.' },
    event: {
      type: 'string',
      minLength: 1,
      maxLength: 255,
      pattern: '^[!-~]+$',
      'x-rule': '1-255 printable ASCII characters',
      description: 'The exact name of the event.',
    },
    status: { ...oneOf(statuses), description: 'Only events with this status.' },
    cursor,
    limit,
  },
  ['since', 'until', 'event', 'status', 'cursor', 'limit'],
)

interface ReplayEvent {
  readonly webhook_id?: WebhookId
}
export const replayEvent = named<ReplayEvent>(
  'ReplayEvent',
  object(
    {
      webhook_id: {
        ...ulid,
        description: 'Only the delivery to this webhook. Default: the deliveries to all webhooks that the event was routed to.',
      },
    },
    ['webhook_id'],
  ),
)
