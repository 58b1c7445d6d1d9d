import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId, WebhookId } from '../events/ids.ts'
import type { DeactivationReason, RecordedWebhookEvent, WebhookEvents } from '../events/webhook.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Decider } from './handler.ts'

export interface WebhookState {
  readonly id: WebhookId
  readonly tenant: TenantId
  readonly key_id: KeyId | null
  readonly callback_url: string
  readonly event: string
  readonly description: string | null
  readonly is_active: boolean
  readonly deactivation_reason: DeactivationReason | null
  readonly secret: string
  readonly previous_secret: string | null
  readonly previous_until: string | null
  readonly retry_delays: readonly number[] | null
  readonly deleted: boolean
  readonly created_at: string
  readonly updated_at: string
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

function decide(command: WebhookCommand, state: WebhookState | null): DecidedEvent<WebhookEvents>[] {
  if (command.type === 'CreateWebhook') {
    const { type, ...data } = command
    return [{ type: 'WebhookCreated', data }]
  }
  if (state === null || state.deleted) throw new KolbakError('not_found', 'There is no such webhook.')
  const { id } = state
  switch (command.type) {
    case 'ChangeWebhook': {
      const changed: Omit<WebhookEvents['WebhookChanged'], 'id'> = {}
      if (command.callback_url !== undefined && command.callback_url !== state.callback_url) changed.callback_url = command.callback_url
      if (command.event !== undefined && command.event !== state.event) changed.event = command.event
      if (command.description !== undefined && command.description !== state.description) changed.description = command.description
      if (command.retry_delays !== undefined && JSON.stringify(command.retry_delays) !== JSON.stringify(state.retry_delays))
        changed.retry_delays = command.retry_delays
      const events: DecidedEvent<WebhookEvents>[] =
        Object.keys(changed).length === 0 ? [] : [{ type: 'WebhookChanged', data: { id, ...changed } }]
      if (command.is_active === true && !state.is_active) events.push({ type: 'WebhookActivated', data: { id } })
      if (command.is_active === false && state.is_active) events.push({ type: 'WebhookDeactivated', data: { id, reason: 'requested' } })
      return events
    }
    case 'RotateWebhookSecret':
      return [{ type: 'WebhookSecretRotated', data: { id, secret: command.secret, previous_until: command.previous_until } }]
    case 'DeactivateWebhook':
      return state.is_active ? [{ type: 'WebhookDeactivated', data: { id, reason: command.reason } }] : []
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
      key_id,
      callback_url,
      event: pattern,
      description,
      is_active,
      deactivation_reason: is_active ? null : 'requested',
      secret,
      previous_secret: null,
      previous_until: null,
      retry_delays,
      deleted: false,
      created_at: time,
      updated_at: time,
    }
  }
  if (state === null) return null
  const next = { ...state, updated_at: time }
  switch (event.type) {
    case 'WebhookChanged': {
      const { callback_url = state.callback_url, event: pattern = state.event, description = state.description } = event.data
      const { retry_delays = state.retry_delays } = event.data
      return { ...next, callback_url, event: pattern, description, retry_delays }
    }
    case 'WebhookSecretRotated': {
      const { secret, previous_until } = event.data
      return { ...next, secret, previous_secret: previous_until === null ? null : state.secret, previous_until }
    }
    case 'WebhookActivated':
      return { ...next, is_active: true, deactivation_reason: null }
    case 'WebhookDeactivated':
      return { ...next, is_active: false, deactivation_reason: event.data.reason }
    case 'WebhookDeleted':
      return { ...next, is_active: false, deleted: true }
    default:
      return state
  }
}

export const webhookDecider: Decider<WebhookState, WebhookCommand, DecidedEvent<WebhookEvents>> = {
  initial: null,
  decide,
  evolve,
  ownerOf: (state) => (state.deleted ? null : { tenant: state.tenant, key_id: state.key_id }),
}
