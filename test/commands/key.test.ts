import { expect } from 'chai'
import { keyDecider } from '../../src/commands/key.ts'
import type { KeyEvents } from '../../src/events/key.ts'
import { key_id as id, specificationOf, tenantId as tenant, timeAt } from './specification.ts'

const given = specificationOf(keyDecider)
const fact = <T extends keyof KeyEvents>(type: T, data: KeyEvents[T]) => ({ type, data })

const created = fact('KeyCreated', { id, tenant, key: 'AAAA00000001', name: 'Key 1', description: 'First', scopes: ['read:webhooks'] })
const deleted = fact('KeyDeleted', { id, webhooks: 'keep' })

describe('keys', () => {
  it('are created', () => {
    given()
      .when({
        type: 'CreateKey',
        id,
        tenant,
        key: 'AAAA00000001',
        name: 'Key 1',
        description: 'First',
        scopes: ['read:webhooks'],
      })
      .then(created)
    expect(given(created).state()).to.deep.equal({
      ...created.data,
      previous_key: null,
      previous_key_until: null,
      deleted: false,
      created_at: timeAt(0),
      updated_at: timeAt(0),
    })
  })
  it('record only the changed fields', () => {
    given(created)
      .when({ type: 'ChangeKey', name: 'Key 2', description: 'First', scopes: ['read:webhooks'] })
      .then(fact('KeyChanged', { id, name: 'Key 2' }))
    given(created)
      .when({ type: 'ChangeKey', scopes: ['write:webhooks', 'read:webhooks'] })
      .then(fact('KeyChanged', { id, scopes: ['write:webhooks', 'read:webhooks'] }))
    given(created)
      .when({ type: 'ChangeKey', name: 'Key 2' })
      .thenState({ name: 'Key 2', description: 'First', updated_at: timeAt(1) })
  })
  it('lose their description when it is cleared', () => {
    given(created)
      .when({ type: 'ChangeKey', description: null })
      .then(fact('KeyChanged', { id, description: null }))
    given(created).when({ type: 'ChangeKey', description: null }).thenState({ description: null })
  })
  it('are not changed by a command without fields or with the present values', () => {
    given(created).when({ type: 'ChangeKey' }).then()
    given(created, fact('KeyChanged', { id, scopes: ['read:webhooks', 'write:webhooks'] }))
      .when({ type: 'ChangeKey', name: 'Key 1', scopes: ['write:webhooks', 'read:webhooks'] })
      .then()
  })
  it('get a new value, while the former one works until the given time', () => {
    const until = '2026-02-01T00:00:00.000Z'
    const rotated = fact('KeyRotated', { id, key: 'BBBB00000002', previous_key_until: until })
    given(created).when({ type: 'RotateKey', key: 'BBBB00000002', previous_key_until: until }).then(rotated)
    given(created)
      .when({ type: 'RotateKey', key: 'BBBB00000002', previous_key_until: until })
      .thenState({ key: 'BBBB00000002', previous_key: 'AAAA00000001', previous_key_until: until, updated_at: timeAt(1) })
    given(created, rotated)
      .when({ type: 'RotateKey', key: 'CCCC00000003', previous_key_until: null })
      .thenState({ key: 'CCCC00000003', previous_key: null, previous_key_until: null })
  })
  it('are deleted with a choice to keep or deactivate their webhooks', () => {
    given(created)
      .when({ type: 'DeleteKey', webhooks: 'deactivate' })
      .then(fact('KeyDeleted', { id, webhooks: 'deactivate' }))
    given(created).when({ type: 'DeleteKey', webhooks: 'keep' }).thenState({ deleted: true })
  })
  it('are not found after they were deleted, or if they never existed', () => {
    for (const past of [[], [created, deleted]]) {
      given(...past)
        .when({ type: 'ChangeKey', name: 'x' })
        .thenRefused('not_found')
      given(...past)
        .when({ type: 'RotateKey', key: 'BBBB00000002', previous_key_until: null })
        .thenRefused('not_found')
      given(...past)
        .when({ type: 'DeleteKey', webhooks: 'keep' })
        .thenRefused('not_found')
    }
  })
  it('belong to their tenant until they are deleted', () => {
    const live = given(created).state()
    const deletedState = given(created, deleted).state()
    expect(live && keyDecider.ownerOf(live)).to.deep.equal({ tenant, key_id: null })
    expect(deletedState && keyDecider.ownerOf(deletedState)).to.equal(null)
  })
})
