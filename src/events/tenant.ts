import type { RecordedEvent } from './envelope.ts'
import { type FieldsOf, type FieldTable, type FieldThatIs, type FieldTrait, storageOf } from './fields.ts'
import type { ClientId, TenantId } from './ids.ts'

export const bearerScopes = [
  'read:keys',
  'write:keys',
  'read:webhooks',
  'write:webhooks',
  'read:events',
  'write:events',
  'read:audit',
  'admin',
  'audit',
] as const
export type Scope = (typeof bearerScopes)[number]
/** The scopes over all tenants. Only clients of the tenant `default` can have them, and neither includes the other. */
export const serviceScopes: readonly Scope[] = ['admin', 'audit']

/** The limits of a tenant. For an absent limit the default of the service applies. */
export interface TenantLimits {
  /** The most webhooks that the tenant may have at a time. */
  readonly webhooks?: number
  /** Messages per second and client on `/v1/events`. */
  readonly events_per_second?: number
  /** Requests per second and client or key on all other routes. */
  readonly requests_per_second?: number
}
/** A change of limits. Null removes a limit, so that the default of the service applies again. */
export type LimitsChange = { readonly [L in keyof TenantLimits]?: number | null }

/** A legal hold: while it lasts, nothing of the tenant may be erased. */
export interface Hold {
  /** The words of the caller. They are stored readable, so they must not contain personal data. */
  readonly reason: string
  /** RFC 3339 time until which the hold lasts, or null: until it is released. */
  readonly until: string | null
}
/** Returns whether a hold lasts at a time (RFC 3339). */
export const lasts = (hold: Hold | null, now: string): hold is Hold =>
  hold !== null && (hold.until === null || Date.parse(hold.until) > Date.parse(now))

/** The fields of a tenant. They have these names in events, states, columns and responses. */
export interface Tenant {
  readonly id: TenantId
  readonly name: string
  readonly limits: TenantLimits
  readonly is_suspended: boolean
  /** The last hold that was not released. It may have ended. */
  readonly hold: Hold | null
  /** RFC 3339 time at which the data keys were destroyed, or null. */
  readonly erased_at: string | null
  readonly created_at: string
  readonly updated_at: string
}
export const tenantFields = {
  id: { stored: 'clear', column: 'text collate "C" not null', is: ['chosen', 'shown'] },
  name: { stored: 'clear', column: 'text not null', is: ['given', 'shown', 'in_history'] },
  // `limits` is not changeable, because TenantSettingsChanged holds all limits.
  limits: { stored: 'clear', column: 'jsonb not null', is: ['shown', 'in_history'] },
  is_suspended: { stored: 'clear', column: 'boolean not null', is: ['shown', 'in_history'] },
  hold: { stored: 'clear', column: 'jsonb', is: ['shown', 'in_history'] },
  erased_at: { stored: 'clear', column: 'timestamptz', is: ['shown', 'in_history'] },
  created_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown'] },
  updated_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown'] },
} as const satisfies FieldTable<Tenant>
/** The names of the fields of a tenant that have a trait. */
export type TenantField<Trait extends FieldTrait> = FieldThatIs<typeof tenantFields, Trait>

/** The fields of a client of a tenant. They have these names in events, states, columns and responses. */
export interface Client {
  readonly client_id: ClientId
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly secret_hmac: string
  readonly previous_hmac: string | null
  /** RFC 3339 time until which the previous secret works too, or null. */
  readonly previous_secret_until: string | null
  /** Counts from 1. Rotation and revocation raise the generation, and tokens of lower generations then stop working. */
  readonly generation: number
  readonly revoked: boolean
  readonly created_at: string
  readonly updated_at: string
}
export const clientFields = {
  client_id: { stored: 'clear', column: 'text collate "C" not null', is: ['chosen', 'shown', 'in_history'] },
  name: { stored: 'clear', column: 'text not null', is: ['given', 'shown', 'in_history'] },
  scopes: { stored: 'clear', column: 'jsonb not null', is: ['given', 'shown', 'in_history'] },
  secret_hmac: { stored: 'clear', column: 'text not null', is: ['chosen', 'in_history', 'secret'] },
  previous_hmac: { stored: 'clear', column: 'text', is: ['secret'] },
  previous_secret_until: { stored: 'clear', column: 'timestamptz', is: ['shown', 'in_history'] },
  generation: { stored: 'clear', column: 'integer not null', is: [] },
  revoked: { stored: 'clear', column: 'boolean not null', is: ['in_history'] },
  created_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown'] },
  updated_at: { stored: 'clear', column: 'timestamptz not null', is: ['shown'] },
} as const satisfies FieldTable<Client>
/** The names of the fields of a client that have a trait. */
export type ClientField<Trait extends FieldTrait> = FieldThatIs<typeof clientFields, Trait>

export interface TenantEvents {
  TenantRegistered: Pick<Tenant, TenantField<'chosen' | 'given'>>
  TenantSettingsChanged: Pick<Tenant, 'id' | 'limits'>
  TenantSuspended: Pick<Tenant, 'id'>
  TenantResumed: Pick<Tenant, 'id'>
  TenantHeld: Pick<Tenant, 'id'> & { readonly hold: Hold }
  TenantHoldReleased: Pick<Tenant, 'id'>
  /** Somebody asked to erase the tenant. The metadata says who, when and why. */
  TenantErasureAsked: Pick<Tenant, 'id'>
  /** The data keys of the tenant are destroyed. A proof of this event is the certificate. */
  TenantErased: Pick<Tenant, 'id'>
  ClientIssued: Pick<Tenant, 'id'> & Pick<Client, ClientField<'chosen' | 'given'>>
  /** The previous secret works until `previous_secret_until`, or not at all when it is null. */
  ClientSecretRotated: Pick<Tenant, 'id'> & Pick<Client, 'client_id' | 'secret_hmac' | 'previous_secret_until' | 'generation'>
  ClientRevoked: Pick<Tenant, 'id'> & Pick<Client, 'client_id' | 'generation'>
}
export type RecordedTenantEvent = { [T in keyof TenantEvents]: RecordedEvent<T, TenantEvents[T]> }[keyof TenantEvents]

export const tenantEventFields = { ...storageOf(tenantFields), ...storageOf(clientFields) } as const satisfies FieldsOf<TenantEvents>
