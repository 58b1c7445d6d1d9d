import type { KeyId, WebhookId } from '../../events/ids.ts'
import { description, limit, type Offset, offset, timestamp, ulid } from './common.ts'
import { asOf } from './history.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'
import { overlap, type Rotation } from './rotation.ts'

const callback_url: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 2048,
  examples: ['https://consumer.example.com/webhook-receiver'],
}
const pattern: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  pattern: '^(?:\\*|[A-Za-z0-9_.:/-]+(?:\\.\\*)?)$',
  'x-rule': 'an event name (1-255 of A-Z a-z 0-9 _ . : / -), a prefix such as order.*, or *',
  examples: ['order.created'],
}
/** 8 to 21 whole groups are 24 to 63 bytes; what is left is 1 or 2 bytes more, at most 64 in all. */
const group = '[A-Za-z0-9+/]'
const secret: JsonSchema = {
  type: 'string',
  pattern: `^whsec_(?:(?:${group}{4}){8,20}(?:${group}{2}==|${group}{3}=)?|(?:${group}{4}){21}(?:${group}{2}==)?)$`,
  'x-rule': 'whsec_ and the base64 of 24-64 bytes',
  examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo='],
}
const retry_delays: JsonSchema = {
  type: ['array', 'null'],
  maxItems: 20,
  items: { type: 'number', exclusiveMinimum: 0, maximum: 604_800 },
  description: "Seconds from each failed attempt to the next; null for the service's own list.",
  examples: [[5, 300, 1800]],
}

export interface CreateWebhook {
  readonly callback_url: string
  readonly event: string
  readonly description?: string | null
  readonly is_active?: boolean
  readonly secret?: string
  readonly retry_delays?: number[] | null
}
const is_active: JsonSchema = { type: 'boolean', default: true }
export const createWebhook = named<CreateWebhook>(
  'CreateWebhook',
  object({ callback_url, event: pattern, description, is_active, secret, retry_delays }, [
    'description',
    'is_active',
    'secret',
    'retry_delays',
  ]),
)

export interface ChangeWebhook {
  readonly callback_url?: string
  readonly event?: string
  readonly description?: string | null
  readonly is_active?: boolean
  readonly retry_delays?: number[] | null
}
export const changeWebhook = named<ChangeWebhook>(
  'ChangeWebhook',
  object({ callback_url, event: pattern, description, is_active: { type: 'boolean' }, retry_delays }, [
    'callback_url',
    'event',
    'description',
    'is_active',
    'retry_delays',
  ]),
)

const shown: Readonly<Record<string, JsonSchema>> = {
  id: ulid,
  callback_url,
  event: pattern,
  description,
  is_active: { type: 'boolean' },
  key_id: nullable({ ...ulid, description: 'The key that created it; null when a client did.' }),
  retry_delays,
  deactivation_reason: { enum: ['requested', 'gone', 'failing', 'key_deleted', null], description: 'Null while it is active.' },
  failing_since: nullable({ ...timestamp, description: 'Of the first failure since the last success; null when there is none.' }),
  created_at: timestamp,
  updated_at: timestamp,
}
export const webhook = named('Webhook', object(shown))
export const createdWebhook = named(
  'CreatedWebhook',
  object({ ...shown, secret: { ...secret, description: 'Shown this once: it verifies the signatures.' } }),
)

export interface RotateSecret extends Rotation {
  readonly secret?: string
}
export const rotateSecret = named<RotateSecret>(
  'RotateSecret',
  object({ overlap_seconds: overlap, secret: { ...secret, description: 'The new one; made when absent.' } }, ['overlap_seconds', 'secret']),
)
export const rotatedWebhook = named(
  'RotatedWebhook',
  object({
    ...shown,
    secret: { ...secret, description: 'The new one, shown this once.' },
    previous_secret_until: nullable({ ...timestamp, description: 'Until then the former secret signs too; null when it does no more.' }),
  }),
)

export interface ListWebhooks extends Offset {
  readonly ids?: readonly WebhookId[]
  readonly events?: readonly string[]
  readonly is_active?: boolean
  readonly key_id?: KeyId
  readonly as_of?: string
}
export const listWebhooksQuery = object<ListWebhooks>(
  {
    ids: { type: 'array', maxItems: 100, items: ulid },
    events: { type: 'array', maxItems: 100, items: pattern, description: 'Compared with the stored patterns literally.' },
    is_active: { type: 'boolean' },
    key_id: { ...ulid, description: 'Created by this key.' },
    as_of: asOf,
    limit,
    offset,
  },
  ['ids', 'events', 'is_active', 'key_id', 'as_of', 'limit', 'offset'],
)
