import type { RecordedEvent } from './envelope.ts'
import type { FieldsOf } from './fields.ts'
import type { KeyId, TenantId } from './ids.ts'

export const keyScopes = ['read:webhooks', 'write:webhooks'] as const
export type KeyScope = (typeof keyScopes)[number]

export interface KeyEvents {
  KeyCreated: { id: KeyId; tenant: TenantId; key: string; name: string; description: string | null; scopes: KeyScope[] }
  /** Only what changed. */
  KeyChanged: { id: KeyId; name?: string; description?: string | null; scopes?: KeyScope[] }
  /** The former value works until `previous_until` (RFC 3339), or not at all when null. */
  KeyRotated: { id: KeyId; key: string; previous_until: string | null }
  /** With `deactivate` a process manager deactivates the webhooks that the key created. */
  KeyDeleted: { id: KeyId; webhooks: 'keep' | 'deactivate' }
}
export type RecordedKeyEvent = { [T in keyof KeyEvents]: RecordedEvent<T, KeyEvents[T]> }[keyof KeyEvents]

export const keyEventFields = {
  id: 'clear',
  tenant: 'clear',
  key: 'sealed',
  name: 'sealed',
  description: 'sealed',
  scopes: 'clear',
  previous_until: 'clear',
  webhooks: 'clear',
} as const satisfies FieldsOf<KeyEvents>
