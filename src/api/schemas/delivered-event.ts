import { messageId } from './common.ts'
import { payload } from './event.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

/** The body of the request that a receiver gets. */
export const deliveredEvent = named(
  'DeliveredEvent',
  object({
    id: { ...messageId, description: 'The id of the event, which is the same on every attempt and every replay.' },
    event: { type: 'string', description: 'The name of the event.', examples: ['order.created'] },
    event_time: nullable({
      type: 'string',
      description: 'The time at which the event happened, exactly as the producer sent it, or null.',
      examples: ['2026-03-31T00:42:50Z'],
    }),
    source: nullable({ type: 'string', description: 'The system that the event comes from, or null.', examples: ['order-service'] }),
    payload: { ...payload, description: 'The payload, byte for byte as the producer sent it.' },
  }),
)

/** The headers of the request that a receiver gets. Those in `optionalHeaders` are not in every request. */
export const deliveryHeaders: Readonly<Record<string, JsonSchema>> = {
  'webhook-id': {
    type: 'string',
    description: 'The id of the event. A receiver that keeps it recognises an event that comes again.',
    examples: ['evt_producer_unique_id_12345'],
  },
  'webhook-timestamp': {
    type: 'string',
    pattern: '^\\d+$',
    description: 'The time of the attempt in seconds since 1970. Refuse a request whose time is more than five minutes away from yours.',
    examples: ['1774917770'],
  },
  'webhook-signature': {
    type: 'string',
    pattern: '^v1,[A-Za-z0-9+/]{43}=(?: v1,[A-Za-z0-9+/]{43}=)*$',
    description:
      'One signature for each valid secret of the webhook, separated by spaces. A signature is `v1,` and the base64 of the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`. Its key is the base64 part of the secret, decoded. The body is the bytes as they came.',
    examples: ['v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4='],
  },
  'kolbak-attempt': {
    type: 'string',
    pattern: '^\\d+$',
    description: 'The number of the attempt, from 1. A replay begins at 1 again.',
    examples: ['1'],
  },
  'kolbak-replay': {
    type: 'string',
    pattern: '^\\d+$',
    description: 'The number of the replay, from 1. Requests that are no replay lack this header.',
    examples: ['1'],
  },
  'user-agent': { type: 'string', pattern: '^Kolbak/', description: 'Kolbak and its version.', examples: ['Kolbak/0.2.0'] },
}
export const optionalHeaders: ReadonlySet<string> = new Set(['kolbak-replay'])
