import { expect } from 'chai'
import { type TenantState, tenantDecider } from '../../src/commands/tenant.ts'
import { type ClientId, defaultTenant } from '../../src/events/ids.ts'
import type { Client, TenantEvents } from '../../src/events/tenant.ts'
import { tenantId as id, specificationOf, timeAt } from './specification.ts'

const given = specificationOf(tenantDecider)
const fact = <T extends keyof TenantEvents>(type: T, data: TenantEvents[T]) => ({ type, data })

const client_id = 'shop' as ClientId
const registered = fact('TenantRegistered', { id, name: 'Acme' })
const issued = fact('ClientIssued', { id, client_id, name: 'Shop', scopes: ['write:events'], secret_hmac: 'aa' })
const revoked = fact('ClientRevoked', { id, client_id, generation: 2 })
const clientOf = (state: TenantState | null): Client | undefined => state?.clients.get(client_id)

describe('tenants', () => {
  it('are registered', () => {
    given()
      .when({ type: 'RegisterTenant', id, name: 'Acme' })
      .then({ type: 'TenantRegistered', data: { id, name: 'Acme' } })
    expect(given(registered).state()).to.deep.equal({
      id,
      name: 'Acme',
      limits: {},
      is_suspended: false,
      hold: null,
      erased_at: null,
      erasure: null,
      clients: new Map(),
      created_at: timeAt(0),
      updated_at: timeAt(0),
    })
  })
  it('must exist before any other command', () => {
    given().when({ type: 'ChangeTenantSettings', limits: {} }).thenRefused('not_found')
    given().when({ type: 'SuspendTenant' }).thenRefused('not_found')
    given().when({ type: 'ResumeTenant' }).thenRefused('not_found')
    given().when({ type: 'RevokeClient', client_id }).thenRefused('not_found')
  })
  it('keep the limits that a change leaves out', () => {
    given(registered, fact('TenantSettingsChanged', { id, limits: { webhooks: 5 } }))
      .when({ type: 'ChangeTenantSettings', limits: { events_per_second: 100 } })
      .then(fact('TenantSettingsChanged', { id, limits: { webhooks: 5, events_per_second: 100 } }))
  })
  it('are not changed by a command with the present limits', () => {
    given(registered, fact('TenantSettingsChanged', { id, limits: { webhooks: 5, events_per_second: 1 } }))
      .when({ type: 'ChangeTenantSettings', limits: { events_per_second: 1, webhooks: 5 } })
      .then()
  })
  it('are registered with the limits that are given', () => {
    given()
      .when({ type: 'RegisterTenant', id, name: 'Acme', limits: { webhooks: 5, events_per_second: null } })
      .then(registered, fact('TenantSettingsChanged', { id, limits: { webhooks: 5 } }))
    given()
      .when({ type: 'RegisterTenant', id, name: 'Acme', limits: { webhooks: null } })
      .then(registered)
  })
  it('lose a limit that a change sets to null', () => {
    const limited = fact('TenantSettingsChanged', { id, limits: { webhooks: 5, events_per_second: 100 } })
    given(registered, limited)
      .when({ type: 'ChangeTenantSettings', limits: { webhooks: null } })
      .then(fact('TenantSettingsChanged', { id, limits: { events_per_second: 100 } }))
    given(registered)
      .when({ type: 'ChangeTenantSettings', limits: { webhooks: null } })
      .then()
  })
  it('cannot be suspended in the case of `default`, because its admins could not resume it', () => {
    given(fact('TenantRegistered', { id: defaultTenant, name: 'default' }))
      .when({ type: 'SuspendTenant' })
      .thenRefused('default_tenant')
  })
  it('are suspended and resumed once', () => {
    const suspended = fact('TenantSuspended', { id })
    given(registered).when({ type: 'SuspendTenant' }).then(suspended)
    given(registered, suspended).when({ type: 'SuspendTenant' }).then()
    given(registered, suspended).when({ type: 'ResumeTenant' }).then(fact('TenantResumed', { id }))
    given(registered).when({ type: 'ResumeTenant' }).then()
    given(registered, suspended)
      .when({ type: 'ResumeTenant' })
      .thenState({ is_suspended: false, updated_at: timeAt(2) })
  })
})

describe('clients', () => {
  it('are issued with generation 1', () => {
    given(registered)
      .when({ type: 'IssueClient', client_id, name: 'Shop', scopes: ['write:events'], secret_hmac: 'aa' })
      .then(issued)
    expect(clientOf(given(registered, issued).state())).to.deep.equal({
      client_id,
      name: 'Shop',
      scopes: ['write:events'],
      secret_hmac: 'aa',
      previous_hmac: null,
      previous_secret_until: null,
      generation: 1,
      revoked: false,
      created_at: timeAt(1),
      updated_at: timeAt(1),
    })
  })
  it('are issued once, even after they were revoked', () => {
    const issueAgain = { type: 'IssueClient', client_id, name: 'Other', scopes: [], secret_hmac: 'bb' } as const
    given(registered, issued).when(issueAgain).thenRefused('already_exists')
    given(registered, issued, revoked).when(issueAgain).thenRefused('already_exists')
  })
  it('are admins only in the tenant `default`', () => {
    const admin = { type: 'IssueClient', client_id, name: 'Admin', scopes: ['admin'], secret_hmac: 'aa' } as const
    given(registered).when(admin).thenRefused('validation_failed')
    given(fact('TenantRegistered', { id: defaultTenant, name: 'default' }))
      .when(admin)
      .then(fact('ClientIssued', { id: defaultTenant, client_id, name: 'Admin', scopes: ['admin'], secret_hmac: 'aa' }))
  })
  it('get a new secret and the next generation, while the former secret works until the given time', () => {
    const until = '2026-02-01T00:00:00.000Z'
    const rotated = fact('ClientSecretRotated', { id, client_id, secret_hmac: 'bb', previous_secret_until: until, generation: 2 })
    given(registered, issued).when({ type: 'RotateClientSecret', client_id, secret_hmac: 'bb', previous_secret_until: until }).then(rotated)
    expect(clientOf(given(registered, issued, rotated).state())).to.include({
      secret_hmac: 'bb',
      previous_hmac: 'aa',
      previous_secret_until: until,
      generation: 2,
      updated_at: timeAt(2),
    })
    const at_once = fact('ClientSecretRotated', { id, client_id, secret_hmac: 'cc', previous_secret_until: null, generation: 3 })
    expect(clientOf(given(registered, issued, rotated, at_once).state())).to.include({ secret_hmac: 'cc', previous_hmac: null })
  })
  it('are not rotated to their present secret', () => {
    given(registered, issued).when({ type: 'RotateClientSecret', client_id, secret_hmac: 'aa', previous_secret_until: null }).then()
  })
  it('are revoked, which raises the generation', () => {
    given(registered, issued).when({ type: 'RevokeClient', client_id }).then(revoked)
    expect(clientOf(given(registered, issued, revoked).state())).to.include({ revoked: true, generation: 2 })
  })
  it('are not revoked when they are the last admin', () => {
    const admin = (name: string) =>
      fact('ClientIssued', { id: defaultTenant, client_id: name as ClientId, name, scopes: ['admin'], secret_hmac: 'aa' })
    const defaultRegistered = fact('TenantRegistered', { id: defaultTenant, name: 'default' })
    const revoke = { type: 'RevokeClient', client_id: 'one' as ClientId } as const
    const clientRevoked = fact('ClientRevoked', { id: defaultTenant, client_id: 'two' as ClientId, generation: 2 })
    given(defaultRegistered, admin('one')).when(revoke).thenRefused('last_admin')
    given(defaultRegistered, admin('one'), admin('two'), clientRevoked).when(revoke).thenRefused('last_admin')
    given(defaultRegistered, admin('one'), admin('two'))
      .when(revoke)
      .then(fact('ClientRevoked', { id: defaultTenant, client_id: 'one' as ClientId, generation: 2 }))
  })
  it('cannot be changed when unknown or revoked', () => {
    const rotate = { type: 'RotateClientSecret', client_id, secret_hmac: 'bb', previous_secret_until: null } as const
    given(registered).when(rotate).thenRefused('not_found')
    given(registered, issued, revoked).when(rotate).thenRefused('not_found')
    given(registered).when({ type: 'RevokeClient', client_id }).thenRefused('not_found')
    given(registered, issued, revoked).when({ type: 'RevokeClient', client_id }).thenRefused('not_found')
  })
})
