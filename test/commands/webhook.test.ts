import { expect } from 'chai'
import { webhookDecider } from '../../src/commands/webhook.ts'
import type { WebhookEvents } from '../../src/events/webhook.ts'
import { webhookId as id, key_id, specificationOf, tenantId as tenant, timeAt } from './specification.ts'

const given = specificationOf(webhookDecider)
const fact = <T extends keyof WebhookEvents>(type: T, data: WebhookEvents[T]) => ({ type, data })

const request: WebhookEvents['WebhookCreated'] = {
  id,
  tenant,
  key_id,
  callback_url: 'https://example.com/a',
  event: 'order.created',
  description: 'Orders',
  is_active: true,
  secret: 'whsec_one',
  retry_delays: null,
}
const created = fact('WebhookCreated', request)
const deactivated = fact('WebhookDeactivated', { id, reason: 'requested' })
const deleted = fact('WebhookDeleted', { id })

describe('webhooks', () => {
  it('are created', () => {
    given()
      .when({ type: 'CreateWebhook', ...request })
      .then(created)
    expect(given(created).state()).to.deep.equal({
      id,
      tenant,
      key_id,
      callback_url: 'https://example.com/a',
      event: 'order.created',
      description: 'Orders',
      is_active: true,
      deactivation_reason: null,
      secret: 'whsec_one',
      previous_secret: null,
      previous_secret_until: null,
      retry_delays: null,
      deleted: false,
      created_at: timeAt(0),
      updated_at: timeAt(0),
    })
  })
  it('may be created inactive', () => {
    given()
      .when({ type: 'CreateWebhook', ...request, is_active: false })
      .thenState({ is_active: false, deactivation_reason: 'requested' })
  })
  it('record only the changed fields', () => {
    given(created)
      .when({ type: 'ChangeWebhook', callback_url: 'https://example.com/b', event: 'order.created', description: 'Orders' })
      .then(fact('WebhookChanged', { id, callback_url: 'https://example.com/b' }))
    given(created)
      .when({ type: 'ChangeWebhook', event: 'order.*', retry_delays: [1, 2] })
      .then(fact('WebhookChanged', { id, event: 'order.*', retry_delays: [1, 2] }))
    given(created)
      .when({ type: 'ChangeWebhook', event: 'order.*' })
      .thenState({ event: 'order.*', callback_url: 'https://example.com/a', description: 'Orders', updated_at: timeAt(1) })
  })
  it('lose their description and retry delays when these are cleared', () => {
    const changed = fact('WebhookChanged', { id, retry_delays: [1] })
    given(created, changed)
      .when({ type: 'ChangeWebhook', description: null, retry_delays: null })
      .then(fact('WebhookChanged', { id, description: null, retry_delays: null }))
    given(created, changed)
      .when({ type: 'ChangeWebhook', description: null, retry_delays: null })
      .thenState({ description: null, retry_delays: null })
  })
  it('are not changed by a command without fields or with the present values', () => {
    given(created).when({ type: 'ChangeWebhook' }).then()
    given(created).when({ type: 'ChangeWebhook', event: 'order.created', is_active: true, retry_delays: null }).then()
  })
  it('are changed and activated or deactivated in one append', () => {
    given(created)
      .when({ type: 'ChangeWebhook', description: 'x', is_active: false })
      .then(fact('WebhookChanged', { id, description: 'x' }), deactivated)
    given(created, deactivated).when({ type: 'ChangeWebhook', is_active: true }).then(fact('WebhookActivated', { id }))
    given(created, deactivated).when({ type: 'ChangeWebhook', is_active: true }).thenState({ is_active: true, deactivation_reason: null })
  })
  it('get a new secret, while both secrets sign until the given time', () => {
    const until = '2026-02-01T00:00:00.000Z'
    const rotated = fact('WebhookSecretRotated', { id, secret: 'whsec_two', previous_secret_until: until })
    given(created).when({ type: 'RotateWebhookSecret', secret: 'whsec_two', previous_secret_until: until }).then(rotated)
    given(created)
      .when({ type: 'RotateWebhookSecret', secret: 'whsec_two', previous_secret_until: until })
      .thenState({ secret: 'whsec_two', previous_secret: 'whsec_one', previous_secret_until: until })
    given(created, rotated)
      .when({ type: 'RotateWebhookSecret', secret: 'whsec_three', previous_secret_until: until })
      .thenState({ secret: 'whsec_three', previous_secret: 'whsec_two' })
    given(created, rotated)
      .when({ type: 'RotateWebhookSecret', secret: 'whsec_three', previous_secret_until: null })
      .thenState({ secret: 'whsec_three', previous_secret: null, previous_secret_until: null })
  })
  it('are deactivated by a process manager with its reason, if they are active', () => {
    given(created)
      .when({ type: 'DeactivateWebhook', reason: 'gone' })
      .then(fact('WebhookDeactivated', { id, reason: 'gone' }))
    given(created).when({ type: 'DeactivateWebhook', reason: 'gone' }).thenState({ is_active: false, deactivation_reason: 'gone' })
    given(created, deactivated).when({ type: 'DeactivateWebhook', reason: 'gone' }).then()
  })
  it('are deleted', () => {
    given(created).when({ type: 'DeleteWebhook' }).then(deleted)
    given(created).when({ type: 'DeleteWebhook' }).thenState({ deleted: true, is_active: false })
  })
  it('are not found after they were deleted, or if they never existed', () => {
    for (const past of [[], [created, deleted]]) {
      given(...past)
        .when({ type: 'ChangeWebhook', event: 'x' })
        .thenRefused('not_found')
      given(...past)
        .when({ type: 'RotateWebhookSecret', secret: 'whsec_x', previous_secret_until: null })
        .thenRefused('not_found')
      given(...past)
        .when({ type: 'DeactivateWebhook', reason: 'failing' })
        .thenRefused('not_found')
      given(...past)
        .when({ type: 'DeleteWebhook' })
        .thenRefused('not_found')
    }
  })
  it('belong to their tenant and the key that created them until they are deleted', () => {
    const live = given(created).state()
    const deletedState = given(created, deleted).state()
    expect(live && webhookDecider.ownerOf(live)).to.deep.equal({ tenant, key_id })
    expect(deletedState && webhookDecider.ownerOf(deletedState)).to.equal(null)
  })
})
