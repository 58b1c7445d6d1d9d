import type { DeliveryStatus } from '../../events/delivery.ts'
import type { WebhookId } from '../../events/ids.ts'
import { messageId, timestamp, ulid, uuid } from './common.ts'
import { deliveryStatuses } from './delivery.ts'
import { exampleOf, type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

const count: JsonSchema = { type: 'integer', minimum: 0, examples: [1] }
const eventName: JsonSchema = { type: 'string', description: 'The name of the event.', examples: ['order.created'] }
const streamStatuses = ['routed', 'unmatched', 'rejected'] as const
type MessageStatus = (typeof streamStatuses)[number]

export const liveDelivery = named(
  'LiveDelivery',
  object({
    id: uuid,
    event_id: messageId,
    webhook_id: ulid,
    event: eventName,
    status: {
      ...oneOf(deliveryStatuses),
      description: 'The status after this attempt. `pending`: a replay has begun.',
      examples: ['retrying'],
    },
    chain: { ...count, description: 'The number of the chain of attempts, from 1.' },
    attempt: { ...count, description: 'The number of the attempt in its chain, from 1.' },
    at: timestamp,
    accepted_at: { ...timestamp, description: 'The time at which the event was accepted.' },
    response_code: nullable({ type: 'integer', description: 'The HTTP status of the response, or null.', examples: [503] }),
    duration_ms: nullable({ ...count, description: 'The duration of the request, or null when none was made.', examples: [42] }),
    reason: nullable({ type: 'string', description: 'A stable word for the cause of a failure, or null.', examples: ['http_503'] }),
    delay_seconds: nullable({ ...count, type: 'number', description: 'Seconds until the next attempt, or null.', examples: [5] }),
  }),
)
export const liveMessage = named(
  'LiveEvent',
  object({
    id: messageId,
    event: eventName,
    status: {
      ...oneOf(streamStatuses),
      description: '`unmatched`: no webhook matched the event. `rejected`: the id was used for another event.',
      examples: ['routed'],
    },
    webhook_count: { ...count, description: 'The number of webhooks that get the event. From 5,000 on it means "at least".' },
    accepted_at: { ...timestamp, description: 'The time at which the event was accepted.' },
    at: { ...timestamp, description: 'The time at which Kolbak matched the event with webhooks.' },
  }),
)

/** A stream of server-sent events is text for generators of clients. */
export const streamOf = (item: JsonSchema): JsonSchema => ({
  type: 'string',
  description: 'Server-sent events. The `data` of each is JSON.',
  'x-item-schema': item,
  examples: [`id: 3f0c2a91.mb5k1x2f.0.0000000000000042\ndata: ${JSON.stringify(exampleOf(item))}\n\n`],
})

const event: JsonSchema = {
  type: 'string',
  maxLength: 255,
  pattern: '^(?:\\*|[A-Za-z0-9_.:/-]+(?:\\.\\*)?)$',
  'x-rule': 'a name, or a prefix with `.*`',
  description: 'Only events with this name, or with a name that has this prefix: `order.*`.',
  examples: ['order.*'],
}
const after: JsonSchema = {
  type: 'string',
  maxLength: 300,
  pattern: '^[0-9a-f]{8}\\.[0-9a-z]{1,9}\\.[0-9]{1,6}\\.[!-~]{0,200}$',
  'x-rule': 'the id of an item',
  description: 'The id of the last item that you have. `Last-Event-ID` does the same, and counts if both are sent.',
  examples: ['3f0c2a91.mb5k1x2f.0.0000000000000042'],
}
const seconds: JsonSchema = {
  type: 'integer',
  minimum: 1,
  maximum: 86_400,
  description: 'End the stream after this time. Without it, the stream ends only when one side closes the connection.',
  examples: [60],
}

interface StreamQuery {
  readonly event?: string
  readonly after?: string
  readonly seconds?: number
}
export const deliveryStreamQuery = object<StreamQuery & { readonly status?: DeliveryStatus; readonly webhook?: WebhookId }>(
  {
    status: { ...oneOf(deliveryStatuses), description: 'Only deliveries that got this status.' },
    webhook: { ...ulid, description: 'Only deliveries to this webhook.' },
    event,
    after,
    seconds,
  },
  ['status', 'webhook', 'event', 'after', 'seconds'],
)
export const messageStreamQuery = object<StreamQuery & { readonly status?: MessageStatus }>(
  { status: { ...oneOf(streamStatuses), description: 'Only events with this status.' }, event, after, seconds },
  ['status', 'event', 'after', 'seconds'],
)
export const lastEventId: JsonSchema = {
  type: 'string',
  description: 'The id of the last item that you have.',
  examples: after.examples ?? [],
}
