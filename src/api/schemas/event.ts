import type { MessageId } from '../../events/ids.ts'
import { eventName, instant, messageId, timestamp } from './common.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

export interface PostEvent {
  readonly id?: MessageId
  readonly event: string
  readonly event_time?: string | null
  readonly source?: string | null
  readonly payload: object
}
const payload: JsonSchema = { type: 'object', description: 'Passed on byte for byte: key order, `1.10` and 20-digit integers included.' }
const eventTime = nullable({ ...instant, description: 'When it originally happened; passed on as sent.' })
const source: JsonSchema = { type: ['string', 'null'], maxLength: 255, examples: ['order-service'] }
export const postEvent = named<PostEvent>(
  'PostEvent',
  object(
    {
      id: { ...messageId, description: 'Posted again with the same content it is not delivered again; made when absent.' },
      event: eventName,
      event_time: eventTime,
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
export const event = named(
  'Event',
  object({
    id: messageId,
    event: { type: 'string' },
    event_time: nullable({ type: 'string' }),
    source: nullable({ type: 'string' }),
    status: { enum: ['routed', 'unmatched'], description: 'Whether any webhook matched when it was routed.' },
    deliveries: object({ total: count, pending: count, retrying: count, success: count, failed: count, discarded: count }),
    has_rejections: { type: 'boolean', description: 'Other content was posted under this id, and refused.' },
    accepted_at: timestamp,
    expires_at: timestamp,
    payload: { ...nullable(payload), description: 'As it was sent; null once it has expired.' },
  }),
)
