import type { RecordedEvent } from './envelope.ts'
import { type FieldsOf, type FieldTable, type FieldThatIs, type FieldTrait, storageOf } from './fields.ts'
import type { KeyId, TenantId, WebhookId } from './ids.ts'

export type DeactivationReason = 'requested' | 'gone' | 'failing' | 'key_deleted'

/** The fields of a webhook. They have these names in events, states, columns and responses. */
export interface Webhook {
  readonly id: WebhookId
  readonly tenant: TenantId
  readonly callback_url: string
  /** A pattern: an exact name, `order.*`, or `*`. */
  readonly event: string
  readonly description: string | null
  readonly is_active: boolean
  /** The key that created the webhook, or null if a client created it. */
  readonly key_id: KeyId | null
  /** Seconds from each failed attempt to the next, or null for the delays of the service. */
  readonly retry_delays: readonly number[] | null
  readonly deactivation_reason: DeactivationReason | null
  /** RFC 3339 time of the first failure since the last success or activation, or null. The table `webhook_health` holds it. */
  readonly failing_since: string | null
  /** `whsec_` + base64 of 24-64 bytes. */
  readonly secret: string
  readonly previous_secret: string | null
  /** RFC 3339 time until which the previous secret also signs, or null. */
  readonly previous_secret_until: string | null
  readonly deleted: boolean
  readonly created_at: string
  readonly updated_at: string
}
export const webhookFields = {
  id: { stored: 'clear', column: 'text collate "C" not null', is: ['chosen', 'shown', 'versioned', 'dispatched'] },
  tenant: { stored: 'clear', column: 'text collate "C" not null', is: ['chosen', 'versioned', 'dispatched'] },
  callback_url: {
    stored: 'sealed',
    column: 'text not null',
    is: ['given', 'changeable', 'shown', 'in_history', 'versioned', 'dispatched'],
  },
  event: { stored: 'clear', column: 'text not null', is: ['given', 'changeable', 'shown', 'in_history', 'versioned', 'dispatched'] },
  description: { stored: 'sealed', column: 'text', default: null, is: ['given', 'changeable', 'shown', 'in_history', 'versioned'] },
  // `is_active` is not changeable, because activation and deactivation have events of their own.
  is_active: {
    stored: 'clear',
    column: 'boolean not null',
    default: true,
    is: ['given', 'shown', 'in_history', 'versioned', 'dispatched'],
  },
  key_id: { stored: 'clear', column: 'text collate "C"', is: ['chosen', 'shown', 'in_history', 'versioned'] },
  retry_delays: {
    stored: 'clear',
    column: 'double precision[]',
    default: null,
    is: ['given', 'changeable', 'shown', 'in_history', 'versioned', 'dispatched'],
  },
  deactivation_reason: { stored: 'clear', column: 'text', is: ['shown', 'in_history', 'versioned'] },
  failing_since: { stored: 'clear', is: ['shown'] },
  secret: { stored: 'sealed', column: 'text not null', is: ['given', 'in_history', 'secret', 'dispatched'] },
  previous_secret: { stored: 'sealed', boundTo: 'secret', column: 'text', is: ['secret', 'dispatched'] },
  previous_secret_until: { stored: 'clear', column: 'timestamptz', is: ['in_history', 'dispatched'] },
  deleted: { stored: 'clear', is: ['in_history'] },
  created_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown', 'versioned'] },
  updated_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown', 'versioned'] },
} as const satisfies FieldTable<Webhook>
/** The names of the fields of a webhook that have a trait. */
export type WebhookField<Trait extends FieldTrait> = FieldThatIs<typeof webhookFields, Trait>

export interface WebhookEvents {
  WebhookCreated: Pick<Webhook, WebhookField<'chosen' | 'given'>>
  /** The event holds only the fields that changed. */
  WebhookChanged: Pick<Webhook, 'id'> & WebhookFieldChanges
  /** Both secrets sign until `previous_secret_until`, or the new one alone when it is null. */
  WebhookSecretRotated: Pick<Webhook, 'id' | 'secret' | 'previous_secret_until'>
  WebhookActivated: Pick<Webhook, 'id'>
  WebhookDeactivated: Pick<Webhook, 'id'> & { readonly reason: DeactivationReason }
  WebhookDeleted: Pick<Webhook, 'id'>
}
export type WebhookFieldChanges = Partial<Pick<Webhook, WebhookField<'changeable'>>>
export type RecordedWebhookEvent = { [T in keyof WebhookEvents]: RecordedEvent<T, WebhookEvents[T]> }[keyof WebhookEvents]

export const webhookEventFields = { ...storageOf(webhookFields), reason: 'clear' } as const satisfies FieldsOf<WebhookEvents>
