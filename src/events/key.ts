import type { RecordedEvent } from './envelope.ts'
import { type FieldsOf, type FieldTable, type FieldThatIs, type FieldTrait, storageOf } from './fields.ts'
import type { KeyId, TenantId } from './ids.ts'

export const keyScopes = ['read:webhooks', 'write:webhooks'] as const
export type KeyScope = (typeof keyScopes)[number]

/** The fields of an API key. They have these names in events, states, columns and responses. */
export interface Key {
  readonly id: KeyId
  readonly tenant: TenantId
  /** The value for `x-api-key`: 12 characters of `[A-Z0-9]`. */
  readonly key: string
  readonly name: string
  readonly description: string | null
  readonly scopes: readonly KeyScope[]
  /** RFC 3339 time of the latest use of the key, or null before its first use. The table `key_usage` holds it. */
  readonly last_accessed_at: string | null
  readonly previous_key: string | null
  /** RFC 3339 time until which the key's previous value works too, or null. */
  readonly previous_key_until: string | null
  readonly deleted: boolean
  readonly created_at: string
  readonly updated_at: string
}
export const keyFields = {
  id: { stored: 'clear', column: 'text collate "C" not null', is: ['chosen', 'shown', 'versioned'] },
  tenant: { stored: 'clear', column: 'text collate "C" not null', is: ['chosen', 'versioned'] },
  key: { stored: 'sealed', column: 'text not null', is: ['chosen', 'shown', 'in_history', 'secret', 'versioned'] },
  name: { stored: 'sealed', column: 'text not null', is: ['given', 'changeable', 'shown', 'in_history', 'versioned'] },
  description: { stored: 'sealed', column: 'text', default: null, is: ['given', 'changeable', 'shown', 'in_history', 'versioned'] },
  scopes: { stored: 'clear', column: 'jsonb not null', is: ['given', 'changeable', 'shown', 'in_history', 'versioned'] },
  last_accessed_at: { stored: 'clear', is: ['shown'] },
  previous_key: { stored: 'sealed', boundTo: 'key', column: 'text', is: ['secret'] },
  previous_key_until: { stored: 'clear', column: 'timestamptz', is: ['in_history'] },
  deleted: { stored: 'clear', is: ['in_history'] },
  created_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown', 'versioned'] },
  updated_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown', 'versioned'] },
} as const satisfies FieldTable<Key>
/** The names of the fields of a key that have a trait. */
export type KeyField<Trait extends FieldTrait> = FieldThatIs<typeof keyFields, Trait>

export interface KeyEvents {
  KeyCreated: Pick<Key, KeyField<'chosen' | 'given'>>
  /** The event holds only the fields that changed. */
  KeyChanged: Pick<Key, 'id'> & KeyFieldChanges
  /** The previous value works until `previous_key_until`, or not at all when it is null. */
  KeyRotated: Pick<Key, 'id' | 'key' | 'previous_key_until'>
  /** With `deactivate`, a process manager deactivates the webhooks that the key created. */
  KeyDeleted: Pick<Key, 'id'> & { readonly webhooks: 'keep' | 'deactivate' }
}
export type KeyFieldChanges = Partial<Pick<Key, KeyField<'changeable'>>>
export type RecordedKeyEvent = { [T in keyof KeyEvents]: RecordedEvent<T, KeyEvents[T]> }[keyof KeyEvents]

export const keyEventFields = { ...storageOf(keyFields), webhooks: 'clear' } as const satisfies FieldsOf<KeyEvents>
