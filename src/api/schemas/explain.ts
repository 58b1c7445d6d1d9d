import type { WebhookId } from '../../events/ids.ts'
import { eventName, messageId, timestamp, ulid } from './common.ts'
import { delivery } from './delivery.ts'
import { named, nullable, object, oneOf } from './json-schema.ts'

interface ExplainQuery {
  readonly webhook: WebhookId
}
export const explainQuery = object<ExplainQuery>({
  webhook: { ...ulid, description: 'The id of the webhook that did or did not get the event.' },
})

export const reasons = ['matched', 'test', 'test_of_another', 'created_later', 'deleted', 'inactive', 'pattern', 'not_known_yet'] as const

export const explanation = named(
  'Explanation',
  object({
    event_id: messageId,
    event: { ...eventName, pattern: '^[A-Za-z0-9_.:/-]+$' },
    accepted_at: timestamp,
    webhook_id: ulid,
    matched: { type: 'boolean', description: 'Whether the event was routed to the webhook.' },
    reason: { ...oneOf(reasons), description: 'Why the event was or was not matched.' },
    explanation: {
      type: 'string',
      description: 'The reason as a sentence.',
      examples: ['The webhook was active, and its pattern matched the event.'],
    },
    webhook_then: nullable({
      ...object({
        revision: { type: 'integer', minimum: 0, examples: [0] },
        event: { type: 'string', examples: ['order.*'] },
        is_active: { type: 'boolean' },
        callback_url: { type: 'string', examples: ['https://consumer.example.com/webhook-receiver'] },
      }),
      description: 'The webhook at the time of matching, or null if it was created later.',
    }),
    delivery: { anyOf: [delivery, { type: 'null' }], description: 'The delivery with every attempt, or null when there is none.' },
    next: {
      type: 'string',
      description: 'The next step of the delivery, as a sentence.',
      examples: ['The next attempt, at about 2026-03-31T00:45:00.000Z.'],
    },
  }),
)
