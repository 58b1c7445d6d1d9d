import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId } from '../events/ids.ts'
import type { KeyEvents, KeyScope, RecordedKeyEvent } from '../events/key.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Decider } from './handler.ts'

export interface KeyState {
  readonly id: KeyId
  readonly tenant: TenantId
  /** 12 of `[A-Z0-9]`. */
  readonly key: string
  readonly previous_key: string | null
  readonly previous_until: string | null
  readonly name: string
  readonly description: string | null
  readonly scopes: readonly KeyScope[]
  readonly deleted: boolean
  readonly created_at: string
  readonly updated_at: string
}
export type KeyCommand =
  | { type: 'CreateKey'; id: KeyId; tenant: TenantId; key: string; name: string; description: string | null; scopes: readonly KeyScope[] }
  | { type: 'ChangeKey'; name?: string; description?: string | null; scopes?: readonly KeyScope[] }
  | { type: 'RotateKey'; key: string; previous_until: string | null }
  | { type: 'DeleteKey'; webhooks: 'keep' | 'deactivate' }

const sameScopes = (a: readonly string[], b: readonly string[]) => a.length === b.length && a.every((scope) => b.includes(scope))

function decide(command: KeyCommand, state: KeyState | null): DecidedEvent<KeyEvents>[] {
  if (command.type === 'CreateKey') {
    const { type, scopes, ...data } = command
    return [{ type: 'KeyCreated', data: { ...data, scopes: [...scopes] } }]
  }
  if (state === null || state.deleted) throw new KolbakError('not_found', 'There is no such key.')
  const { id } = state
  switch (command.type) {
    case 'ChangeKey': {
      const changed: Omit<KeyEvents['KeyChanged'], 'id'> = {}
      if (command.name !== undefined && command.name !== state.name) changed.name = command.name
      if (command.description !== undefined && command.description !== state.description) changed.description = command.description
      if (command.scopes !== undefined && !sameScopes(command.scopes, state.scopes)) changed.scopes = [...command.scopes]
      return Object.keys(changed).length === 0 ? [] : [{ type: 'KeyChanged', data: { id, ...changed } }]
    }
    case 'RotateKey':
      return [{ type: 'KeyRotated', data: { id, key: command.key, previous_until: command.previous_until } }]
    case 'DeleteKey':
      return [{ type: 'KeyDeleted', data: { id, webhooks: command.webhooks } }]
  }
}

function evolve(state: KeyState | null, recorded: RecordedEvent): KeyState | null {
  const event = recorded as RecordedKeyEvent
  const { time } = event.metadata
  if (event.type === 'KeyCreated')
    return { ...event.data, previous_key: null, previous_until: null, deleted: false, created_at: time, updated_at: time }
  if (state === null) return null
  switch (event.type) {
    case 'KeyChanged': {
      const { id, ...changed } = event.data
      return { ...state, ...changed, updated_at: time }
    }
    case 'KeyRotated': {
      const { key, previous_until } = event.data
      return { ...state, key, previous_key: previous_until === null ? null : state.key, previous_until, updated_at: time }
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
