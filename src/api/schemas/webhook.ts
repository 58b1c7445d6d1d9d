import { fieldsThatAre, pick } from '../../events/fields.ts'
import type { KeyId, WebhookId } from '../../events/ids.ts'
import { type Webhook, type WebhookField, type WebhookFieldChanges, webhookFields } from '../../events/webhook.ts'
import { maxUrlLength } from '../callback-url.ts'
import { description, limit, type Offset, offset, timestamp, ulid } from './common.ts'
import { asOf } from './history.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'
import { overlap, type Rotation } from './rotation.ts'

/**
 * The pattern of a secret of 24 to 64 bytes in base64. It has 8 to 21 groups of 3 bytes, and then 0 to 2 further bytes. The last letter of these
 * carries only 4 or 2 bits. Its other bits must be 0 (RFC 4648, 3.5), because some libraries refuse a secret with other bits.
 */
const group = '[A-Za-z0-9+/]'
const oneByte = `${group}[AQgw]==`
const twoBytes = `${group}{2}[AEIMQUYcgkosw048]=`
const secretPattern = `^whsec_(?:(?:${group}{4}){8,20}(?:${oneByte}|${twoBytes})?|(?:${group}{4}){21}(?:${oneByte})?)$`

/** Describes each field of a webhook, for requests and responses alike. */
const fields = {
  id: ulid,
  callback_url: {
    type: 'string',
    minLength: 1,
    maxLength: maxUrlLength,
    description: 'The URL that events are posted to.',
    examples: ['https://consumer.example.com/webhook-receiver'],
  },
  event: {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^(?:\\*|[A-Za-z0-9_.:/-]+(?:\\.\\*)?)$',
    'x-rule': 'an event name (1-255 of A-Z a-z 0-9 _ . : / -), a prefix such as order.*, or *',
    description: 'The pattern of the events that the webhook gets.',
    examples: ['order.created'],
  },
  description,
  is_active: { type: 'boolean', description: 'Events are delivered only while the webhook is active.' },
  key_id: nullable({ ...ulid, description: 'The key that created the webhook, or null when a client created it.', examples: [null] }),
  retry_delays: {
    type: ['array', 'null'],
    maxItems: 20,
    items: { type: 'number', exclusiveMinimum: 0, maximum: 604_800 },
    description: "The seconds from each failed attempt to the next one. Null stands for the service's own list.",
    examples: [[5, 300, 1800]],
  },
  deactivation_reason: nullable({
    ...oneOf(['requested', 'gone', 'failing', 'key_deleted']),
    description: 'Why the webhook is inactive, or null while it is active.',
    examples: [null],
  }),
  failing_since: nullable({
    ...timestamp,
    description: 'The time of the first failure since the last success, or null when there is none.',
    examples: [null],
  }),
  created_at: timestamp,
  updated_at: timestamp,
  secret: {
    type: 'string',
    pattern: secretPattern,
    'x-rule': 'whsec_ and the base64 of 24-64 bytes, without stray bits at its end',
    examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo='],
  },
} satisfies Record<WebhookField<'given' | 'changeable' | 'shown'>, JsonSchema>
const { secret } = fields

export type CreateWebhook = Pick<Webhook, 'callback_url' | 'event'> & Partial<Pick<Webhook, WebhookField<'given'>>>
const given = fieldsThatAre(webhookFields, 'given')
export const createWebhook = named<CreateWebhook>(
  'CreateWebhook',
  object(
    { ...pick(fields, given), is_active: { ...fields.is_active, description: `${fields.is_active.description} Default: true.` } },
    given.filter((field) => field !== 'callback_url' && field !== 'event'),
  ),
)

export type ChangeWebhook = WebhookFieldChanges & Partial<Pick<Webhook, 'is_active'>>
const changeable = [...fieldsThatAre(webhookFields, 'changeable'), 'is_active'] as const
export const changeWebhook = named<ChangeWebhook>('ChangeWebhook', object(pick(fields, changeable), changeable))

const shown = pick(fields, fieldsThatAre(webhookFields, 'shown'))
export const webhook = named('Webhook', object(shown))
export const createdWebhook = named(
  'CreatedWebhook',
  object({ ...shown, secret: { ...secret, description: 'The secret that verifies signatures. It is shown only in this response.' } }),
)

interface RotateSecret extends Rotation {
  readonly secret?: string
}
export const rotateSecret = named<RotateSecret>(
  'RotateSecret',
  object({ overlap_seconds: overlap, secret: { ...secret, description: 'The new secret. Without it, the service generates one.' } }, [
    'overlap_seconds',
    'secret',
  ]),
)
export const rotatedWebhook = named(
  'RotatedWebhook',
  object({
    ...shown,
    secret: { ...secret, description: 'The new secret. It is shown only in this response.' },
    previous_secret_until: nullable({
      ...timestamp,
      description: 'The time until which the former secret also signs, or null when it does not.',
      examples: ['2026-04-01T00:45:00.000Z'],
    }),
  }),
)

interface ListWebhooks extends Offset {
  readonly ids?: readonly WebhookId[]
  readonly events?: readonly string[]
  readonly is_active?: boolean
  readonly key_id?: KeyId
  readonly as_of?: string
}
export const listWebhooksQuery = object<ListWebhooks>(
  {
    ids: { type: 'array', maxItems: 100, items: ulid, description: 'Only webhooks with these ids.' },
    events: { type: 'array', maxItems: 100, items: fields.event, description: 'Patterns, compared literally with the stored ones.' },
    is_active: { type: 'boolean', description: 'Only active webhooks, or only inactive ones.' },
    key_id: { ...ulid, description: 'Only webhooks that this key created.' },
    as_of: asOf,
    limit,
    offset,
  },
  ['ids', 'events', 'is_active', 'key_id', 'as_of', 'limit', 'offset'],
)
