import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import { type ClientId, defaultTenant, type TenantId } from '../events/ids.ts'
import {
  type Client,
  type Hold,
  type LimitsChange,
  lasts,
  type RecordedTenantEvent,
  serviceScopes,
  type Tenant,
  type TenantEvents,
  type TenantLimits,
} from '../events/tenant.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Decider } from './handler.ts'

/** A tenant and its clients, as their events define them. */
export type TenantState = Tenant & { readonly clients: ReadonlyMap<ClientId, Client>; readonly erasure: TenantErasure | null }
/** The erasure of a tenant. */
export interface TenantErasure {
  /** The ids and times of TenantErasureAsked and TenantErased. Those of TenantErased are null until the keys are destroyed. */
  readonly asked_event: string
  readonly asked_at: string
  readonly erased_event: string | null
  readonly erased_at: string | null
}
export type TenantCommand =
  | { type: 'RegisterTenant'; id: TenantId; name: string; limits?: LimitsChange }
  | { type: 'ChangeTenantSettings'; limits: LimitsChange }
  | { type: 'SuspendTenant' }
  | { type: 'ResumeTenant' }
  | { type: 'HoldTenant'; hold: Hold }
  | { type: 'ReleaseHold' }
  /** `now` is the time of the command (RFC 3339). A hold that lasts at that time forbids the erasure. */
  | { type: 'EraseTenant'; now: string }
  | { type: 'CompleteTenantErasure' }
  | ({ type: 'IssueClient' } & Omit<TenantEvents['ClientIssued'], 'id'>)
  | ({ type: 'RotateClientSecret' } & Omit<TenantEvents['ClientSecretRotated'], 'id' | 'generation'>)
  | { type: 'RevokeClient'; client_id: ClientId }

const liveClient = (state: TenantState, id: ClientId): Client => {
  const client = state.clients.get(id)
  if (client === undefined || client.revoked) throw new KolbakError('not_found', 'There is no such client.')
  return client
}
/** Returns the limits after a change. A limit that the change sets to null is removed. */
const changedLimits = (limits: TenantLimits, change: LimitsChange): TenantLimits =>
  Object.fromEntries(Object.entries({ ...limits, ...change }).filter(([, limit]) => typeof limit === 'number'))

const isLastAdmin = (state: TenantState, { client_id, scopes }: Client): boolean =>
  scopes.includes('admin') &&
  ![...state.clients.values()].some((other) => other.client_id !== client_id && !other.revoked && other.scopes.includes('admin'))

/** The commands that a tenant accepts once its erasure is asked for. */
const commandsOnceErasureIsAsked: ReadonlySet<TenantCommand['type']> = new Set(['EraseTenant', 'CompleteTenantErasure', 'SuspendTenant'])

/** Throws on_hold while a legal hold lasts. */
export function refuseOnHold(hold: Hold | null, now: string): void {
  if (lasts(hold, now))
    throw new KolbakError(
      'on_hold',
      `A legal hold forbids the erasure ${hold.until === null ? 'until it is released' : `until ${hold.until}`}.`,
    )
}

function decide(command: TenantCommand, state: TenantState | null): DecidedEvent<TenantEvents>[] {
  if (command.type === 'RegisterTenant') {
    const { id, name } = command
    const limits = changedLimits({}, command.limits ?? {})
    const registered: DecidedEvent<TenantEvents> = { type: 'TenantRegistered', data: { id, name } }
    return Object.keys(limits).length === 0 ? [registered] : [registered, { type: 'TenantSettingsChanged', data: { id, limits } }]
  }
  if (state === null) throw new KolbakError('not_found', 'There is no such tenant.')
  const { id } = state
  if (state.erasure !== null && !commandsOnceErasureIsAsked.has(command.type))
    throw new KolbakError('tenant_erased', 'The erasure of this tenant was requested: it cannot be changed any more.')
  switch (command.type) {
    case 'ChangeTenantSettings': {
      const limits = changedLimits(state.limits, command.limits)
      return JSON.stringify(limits) === JSON.stringify(state.limits) ? [] : [{ type: 'TenantSettingsChanged', data: { id, limits } }]
    }
    case 'SuspendTenant':
      if (id === defaultTenant)
        throw new KolbakError('default_tenant', 'The tenant `default` cannot be suspended: its admins could not resume it.')
      return state.is_suspended ? [] : [{ type: 'TenantSuspended', data: { id } }]
    case 'ResumeTenant':
      return state.is_suspended ? [{ type: 'TenantResumed', data: { id } }] : []
    case 'HoldTenant': {
      const { hold } = command
      return JSON.stringify(hold) === JSON.stringify(state.hold) ? [] : [{ type: 'TenantHeld', data: { id, hold } }]
    }
    case 'ReleaseHold':
      return state.hold === null ? [] : [{ type: 'TenantHoldReleased', data: { id } }]
    case 'EraseTenant':
      if (state.erasure !== null) return []
      refuseOnHold(state.hold, command.now)
      if (!state.is_suspended) throw new KolbakError('not_suspended', 'Only a suspended tenant can be erased: suspend it first.')
      return [{ type: 'TenantErasureAsked', data: { id } }]
    case 'CompleteTenantErasure':
      return state.erasure === null || state.erasure.erased_event !== null ? [] : [{ type: 'TenantErased', data: { id } }]
    case 'IssueClient': {
      if (state.clients.has(command.client_id)) throw new KolbakError('already_exists', 'A client with this id exists already.')
      const { client_id, name, scopes, secret_hmac } = command
      const serviceScope = serviceScopes.find((scope) => scopes.includes(scope))
      if (serviceScope !== undefined && id !== defaultTenant)
        throw new KolbakError('validation_failed', `Only clients of the tenant \`default\` can have the scope ${serviceScope}.`, {
          details: [{ path: 'scopes', message: `must not hold ${serviceScope}: only clients of the tenant \`default\` can` }],
        })
      return [{ type: 'ClientIssued', data: { id, client_id, name, scopes: [...scopes], secret_hmac } }]
    }
    case 'RotateClientSecret': {
      const client = liveClient(state, command.client_id)
      const { client_id, secret_hmac, previous_secret_until } = command
      if (client.secret_hmac === secret_hmac) return []
      return [
        { type: 'ClientSecretRotated', data: { id, client_id, secret_hmac, previous_secret_until, generation: client.generation + 1 } },
      ]
    }
    case 'RevokeClient': {
      const client = liveClient(state, command.client_id)
      if (isLastAdmin(state, client))
        throw new KolbakError('last_admin', 'This is the last client with scope admin: issue another one first.')
      return [{ type: 'ClientRevoked', data: { id, client_id: client.client_id, generation: client.generation + 1 } }]
    }
  }
}

function evolve(state: TenantState | null, recorded: RecordedEvent): TenantState | null {
  const event = recorded as RecordedTenantEvent
  const { time } = event.metadata
  if (event.type === 'TenantRegistered') {
    const { id, name } = event.data
    const fresh = { limits: {}, is_suspended: false, hold: null, erased_at: null, clients: new Map<ClientId, Client>(), erasure: null }
    return { id, name, ...fresh, created_at: time, updated_at: time }
  }
  if (state === null) return null
  const withClient = (id: ClientId, change: Partial<Client>): TenantState => {
    const client = state.clients.get(id)
    if (client === undefined) return state
    return { ...state, clients: new Map(state.clients).set(id, { ...client, ...change, updated_at: time }) }
  }
  switch (event.type) {
    case 'TenantSettingsChanged':
      return { ...state, limits: event.data.limits, updated_at: time }
    case 'TenantSuspended':
      return { ...state, is_suspended: true, updated_at: time }
    case 'TenantResumed':
      return { ...state, is_suspended: false, updated_at: time }
    case 'TenantHeld':
      return { ...state, hold: event.data.hold, updated_at: time }
    case 'TenantHoldReleased':
      return { ...state, hold: null, updated_at: time }
    case 'TenantErasureAsked':
      return { ...state, erasure: { asked_event: event.id, asked_at: time, erased_event: null, erased_at: null }, updated_at: time }
    case 'TenantErased':
      if (state.erasure === null) return state
      return { ...state, erased_at: time, erasure: { ...state.erasure, erased_event: event.id, erased_at: time }, updated_at: time }
    case 'ClientIssued': {
      const { id, ...issued } = event.data
      const initialFields = {
        previous_hmac: null,
        previous_secret_until: null,
        generation: 1,
        revoked: false,
        created_at: time,
        updated_at: time,
      }
      return { ...state, clients: new Map(state.clients).set(issued.client_id, { ...issued, ...initialFields }) }
    }
    case 'ClientSecretRotated': {
      const { id, ...rotated } = event.data
      const formerHmac = state.clients.get(rotated.client_id)?.secret_hmac ?? null
      return withClient(rotated.client_id, { ...rotated, previous_hmac: rotated.previous_secret_until === null ? null : formerHmac })
    }
    case 'ClientRevoked':
      return withClient(event.data.client_id, { revoked: true, generation: event.data.generation })
    default:
      return state
  }
}

export const tenantDecider: Decider<TenantState, TenantCommand, DecidedEvent<TenantEvents>> = {
  initial: null,
  decide,
  evolve,
  ownerOf: (state) => ({ tenant: state.id, key_id: null }),
}
