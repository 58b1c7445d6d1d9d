import type { RecordedEvent } from './envelope.ts'
import type { FieldsOf } from './fields.ts'
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
] as const
export type Scope = (typeof bearerScopes)[number]

/** Limits of a tenant; what is absent has the service's default. */
export interface TenantLimits {
  /** Webhooks that are not deleted. */
  readonly webhooks?: number
  /** Messages a second, per client, on `/v1/events`. */
  readonly events_per_second?: number
  /** Requests a second, per client or key, elsewhere. */
  readonly requests_per_second?: number
}
/** A change of limits: null takes one away, so that the service's default holds again. */
export type LimitsChange = { readonly [L in keyof TenantLimits]?: number | null }

export interface TenantEvents {
  TenantRegistered: { id: TenantId; name: string }
  TenantSettingsChanged: { id: TenantId; limits: TenantLimits }
  TenantSuspended: { id: TenantId }
  TenantResumed: { id: TenantId }
  ClientIssued: { id: TenantId; client_id: ClientId; name: string; scopes: Scope[]; secret_hmac: string }
  /** The former secret works until `previous_until` (RFC 3339), or not at all when null. Tokens of lower generations stop working. */
  ClientSecretRotated: { id: TenantId; client_id: ClientId; secret_hmac: string; previous_until: string | null; generation: number }
  ClientRevoked: { id: TenantId; client_id: ClientId; generation: number }
}
export type RecordedTenantEvent = { [T in keyof TenantEvents]: RecordedEvent<T, TenantEvents[T]> }[keyof TenantEvents]

export const tenantEventFields = {
  id: 'clear',
  name: 'clear',
  limits: 'clear',
  client_id: 'clear',
  scopes: 'clear',
  secret_hmac: 'clear',
  previous_until: 'clear',
  generation: 'clear',
} as const satisfies FieldsOf<TenantEvents>
