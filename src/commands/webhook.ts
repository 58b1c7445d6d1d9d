import type { RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId, WebhookId } from '../events/ids.ts'
import type { DeactivationReason, RecordedWebhookEvent, WebhookEvents } from '../events/webhook.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Decider } from './handler.ts'

export interface WebhookState {
  readonly id: WebhookId
  readonly tenant: TenantId
  readonly keyId: KeyId | null
  readonly callbackUrl: string
  readonly event: string
  readonly description: string | null
  readonly isActive: boolean
  readonly deactivationReason: DeactivationReason | null
  readonly secret: string
  readonly previousSecret: string | null
  readonly previousUntil: string | null
  readonly retryDelays: readonly number[] | null
  readonly deleted: boolean
  readonly createdAt: string
  readonly updatedAt: string
}
export interface WebhookChange {
  callback_url?: string
  event?: string
  description?: string | null
  retry_delays?: number[] | null
  is_active?: boolean
}
export type WebhookCommand =
  | ({ type: 'CreateWebhook' } & WebhookEvents['WebhookCreated'])
  | ({ type: 'ChangeWebhook' } & WebhookChange)
  | { type: 'RotateWebhookSecret'; secret: string; previous_until: string | null }
  /** Of a process manager. */
  | { type: 'DeactivateWebhook'; reason: Exclude<DeactivationReason, 'requested'> }
  | { type: 'DeleteWebhook' }
type Decided = { [T in keyof WebhookEvents]: { type: T; data: WebhookEvents[T] } }[keyof WebhookEvents]

function decide(command: WebhookCommand, state: WebhookState | null): Decided[] {
  if (command.type === 'CreateWebhook') {
    const { type, ...data } = command
    return [{ type: 'WebhookCreated', data }]
  }
  if (state === null || state.deleted) throw new KolbakError('not_found', 'There is no such webhook.')
  const { id } = state
  switch (command.type) {
    case 'ChangeWebhook': {
      const changed: Omit<WebhookEvents['WebhookChanged'], 'id'> = {}
      if (command.callback_url !== undefined && command.callback_url !== state.callbackUrl) changed.callback_url = command.callback_url
      if (command.event !== undefined && command.event !== state.event) changed.event = command.event
      if (command.description !== undefined && command.description !== state.description) changed.description = command.description
      if (command.retry_delays !== undefined && JSON.stringify(command.retry_delays) !== JSON.stringify(state.retryDelays))
        changed.retry_delays = command.retry_delays
      const events: Decided[] = Object.keys(changed).length === 0 ? [] : [{ type: 'WebhookChanged', data: { id, ...changed } }]
      if (command.is_active === true && !state.isActive) events.push({ type: 'WebhookActivated', data: { id } })
      if (command.is_active === false && state.isActive) events.push({ type: 'WebhookDeactivated', data: { id, reason: 'requested' } })
      return events
    }
    case 'RotateWebhookSecret':
      return [{ type: 'WebhookSecretRotated', data: { id, secret: command.secret, previous_until: command.previous_until } }]
    case 'DeactivateWebhook':
      return state.isActive ? [{ type: 'WebhookDeactivated', data: { id, reason: command.reason } }] : []
    case 'DeleteWebhook':
      return [{ type: 'WebhookDeleted', data: { id } }]
  }
}

function evolve(state: WebhookState | null, recorded: RecordedEvent): WebhookState | null {
  const event = recorded as RecordedWebhookEvent
  const { time } = event.metadata
  if (event.type === 'WebhookCreated') {
    const { id, tenant, key_id, callback_url, event: pattern, description, is_active, secret, retry_delays } = event.data
    return {
      id,
      tenant,
      keyId: key_id,
      callbackUrl: callback_url,
      event: pattern,
      description,
      isActive: is_active,
      deactivationReason: is_active ? null : 'requested',
      secret,
      previousSecret: null,
      previousUntil: null,
      retryDelays: retry_delays,
      deleted: false,
      createdAt: time,
      updatedAt: time,
    }
  }
  if (state === null) return null
  const next = { ...state, updatedAt: time }
  switch (event.type) {
    case 'WebhookChanged': {
      const { callback_url = state.callbackUrl, event: pattern = state.event, description = state.description } = event.data
      const { retry_delays = state.retryDelays } = event.data
      return { ...next, callbackUrl: callback_url, event: pattern, description, retryDelays: retry_delays }
    }
    case 'WebhookSecretRotated': {
      const { secret, previous_until } = event.data
      return { ...next, secret, previousSecret: previous_until === null ? null : state.secret, previousUntil: previous_until }
    }
    case 'WebhookActivated':
      return { ...next, isActive: true, deactivationReason: null }
    case 'WebhookDeactivated':
      return { ...next, isActive: false, deactivationReason: event.data.reason }
    case 'WebhookDeleted':
      return { ...next, isActive: false, deleted: true }
    default:
      return state
  }
}

export const webhookDecider: Decider<WebhookState, WebhookCommand, Decided> = {
  initial: null,
  decide,
  evolve,
  ownerOf: (state) => (state.deleted ? null : { tenant: state.tenant, keyId: state.keyId }),
}
