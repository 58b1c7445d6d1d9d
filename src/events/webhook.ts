import type { RecordedEvent } from './envelope.ts'
import type { FieldsOf } from './fields.ts'
import type { KeyId, TenantId, WebhookId } from './ids.ts'

export type DeactivationReason = 'requested' | 'gone' | 'failing' | 'key_deleted'

export interface WebhookEvents {
  WebhookCreated: {
    id: WebhookId
    tenant: TenantId
    /** The key that created it, or null when a client did. */
    key_id: KeyId | null
    callback_url: string
    /** A pattern: an exact name, `order.*`, or `*`. */
    event: string
    description: string | null
    is_active: boolean
    /** `whsec_` + base64 of 24-64 bytes. */
    secret: string
    /** Seconds to each further attempt, or null for the service's list. */
    retry_delays: number[] | null
  }
  /** Only what changed. */
  WebhookChanged: { id: WebhookId; callback_url?: string; event?: string; description?: string | null; retry_delays?: number[] | null }
  /** Both secrets sign until `previous_until` (RFC 3339), or the new one alone when null. */
  WebhookSecretRotated: { id: WebhookId; secret: string; previous_until: string | null }
  WebhookActivated: { id: WebhookId }
  WebhookDeactivated: { id: WebhookId; reason: DeactivationReason }
  WebhookDeleted: { id: WebhookId }
}
export type RecordedWebhookEvent = { [T in keyof WebhookEvents]: RecordedEvent<T, WebhookEvents[T]> }[keyof WebhookEvents]

export const webhookEventFields = {
  id: 'clear',
  tenant: 'clear',
  key_id: 'clear',
  callback_url: 'sealed',
  event: 'clear',
  description: 'sealed',
  is_active: 'clear',
  secret: 'sealed',
  retry_delays: 'clear',
  previous_until: 'clear',
  reason: 'clear',
} as const satisfies FieldsOf<WebhookEvents>
