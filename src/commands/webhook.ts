import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import {
  type DeactivationReason,
  type RecordedWebhookEvent,
  type Webhook,
  type WebhookEvents,
  type WebhookFieldChanges,
  webhookFields,
} from '../events/webhook.ts'
import { KolbakError } from '../lib/errors.ts'
import { changedFields } from './changed-fields.ts'
import type { Decider } from './handler.ts'

/** A webhook, as its events define it. */
export type WebhookState = Omit<Webhook, 'failing_since'>
export type WebhookCommand =
  | ({ type: 'CreateWebhook' } & WebhookEvents['WebhookCreated'])
  | ({ type: 'ChangeWebhook' } & WebhookFieldChanges & Partial<Pick<Webhook, 'is_active'>>)
  | ({ type: 'RotateWebhookSecret' } & Omit<WebhookEvents['WebhookSecretRotated'], 'id'>)
  /** A command that only process managers give. */
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
      const changed = changedFields(webhookFields, state, command)
      const events: DecidedEvent<WebhookEvents>[] =
        Object.keys(changed).length === 0 ? [] : [{ type: 'WebhookChanged', data: { id, ...changed } }]
      if (command.is_active === true && !state.is_active) events.push({ type: 'WebhookActivated', data: { id } })
      if (command.is_active === false && state.is_active) events.push({ type: 'WebhookDeactivated', data: { id, reason: 'requested' } })
      return events
    }
    case 'RotateWebhookSecret':
      return [{ type: 'WebhookSecretRotated', data: { id, secret: command.secret, previous_secret_until: command.previous_secret_until } }]
    case 'DeactivateWebhook':
      return state.is_active ? [{ type: 'WebhookDeactivated', data: { id, reason: command.reason } }] : []
    case 'DeleteWebhook':
      return [{ type: 'WebhookDeleted', data: { id } }]
  }
}

function evolve(state: WebhookState | null, recorded: RecordedEvent): WebhookState | null {
  const event = recorded as RecordedWebhookEvent
  const { time } = event.metadata
  if (event.type === 'WebhookCreated')
    return {
      ...event.data,
      deactivation_reason: event.data.is_active ? null : 'requested',
      previous_secret: null,
      previous_secret_until: null,
      deleted: false,
      created_at: time,
      updated_at: time,
    }
  if (state === null) return null
  const next = { ...state, updated_at: time }
  switch (event.type) {
    case 'WebhookChanged':
      return { ...next, ...event.data }
    case 'WebhookSecretRotated': {
      const { previous_secret_until } = event.data
      return { ...next, ...event.data, previous_secret: previous_secret_until === null ? null : state.secret }
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
