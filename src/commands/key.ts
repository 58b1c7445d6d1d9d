import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import { type Key, type KeyEvents, type KeyFieldChanges, keyFields, type RecordedKeyEvent } from '../events/key.ts'
import { KolbakError } from '../lib/errors.ts'
import { changedFields } from './changed-fields.ts'
import type { Decider } from './handler.ts'

/** A key, as its events define it. */
export type KeyState = Omit<Key, 'last_accessed_at'>
export type KeyCommand =
  | ({ type: 'CreateKey' } & KeyEvents['KeyCreated'])
  | ({ type: 'ChangeKey' } & KeyFieldChanges)
  | ({ type: 'RotateKey' } & Omit<KeyEvents['KeyRotated'], 'id'>)
  | { type: 'DeleteKey'; webhooks: 'keep' | 'deactivate' }

const sameScopes = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((scope) => b.includes(scope))

function decide(command: KeyCommand, state: KeyState | null): DecidedEvent<KeyEvents>[] {
  if (command.type === 'CreateKey') {
    const { type, ...data } = command
    return [{ type: 'KeyCreated', data }]
  }
  if (state === null || state.deleted) throw new KolbakError('not_found', 'There is no such key.')
  const { id } = state
  switch (command.type) {
    case 'ChangeKey': {
      const { scopes = state.scopes } = command
      // The same scopes in another order do not count as a change.
      const changed = changedFields(keyFields, state, { ...command, scopes: sameScopes(scopes, state.scopes) ? state.scopes : scopes })
      return Object.keys(changed).length === 0 ? [] : [{ type: 'KeyChanged', data: { id, ...changed } }]
    }
    case 'RotateKey':
      return [{ type: 'KeyRotated', data: { id, key: command.key, previous_key_until: command.previous_key_until } }]
    case 'DeleteKey':
      return [{ type: 'KeyDeleted', data: { id, webhooks: command.webhooks } }]
  }
}

function evolve(state: KeyState | null, recorded: RecordedEvent): KeyState | null {
  const event = recorded as RecordedKeyEvent
  const { time } = event.metadata
  if (event.type === 'KeyCreated')
    return { ...event.data, previous_key: null, previous_key_until: null, deleted: false, created_at: time, updated_at: time }
  if (state === null) return null
  switch (event.type) {
    case 'KeyChanged':
      return { ...state, ...event.data, updated_at: time }
    case 'KeyRotated': {
      const previous_key = event.data.previous_key_until === null ? null : state.key
      return { ...state, ...event.data, previous_key, updated_at: time }
    }
    case 'KeyDeleted':
      return { ...state, deleted: true, updated_at: time }
    default:
      return state
  }
}

export const keyDecider: Decider<KeyState, KeyCommand, DecidedEvent<KeyEvents>> = {
  initial: null,
  decide,
  evolve,
  ownerOf: (state) => (state.deleted ? null : { tenant: state.tenant, key_id: null }),
}
