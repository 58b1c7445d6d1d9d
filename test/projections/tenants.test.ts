import { expect } from 'chai'
import { ulid } from 'ulid'
import type { ClientId, TenantId } from '../../src/events/ids.ts'
import { findClient, listClients } from '../../src/projections/clients.ts'
import { findTenant, listTenants } from '../../src/projections/tenants.ts'
import { projectionWorld, type World } from './world.ts'

describe('the read model of tenants and clients', () => {
  let world: World
  before(async () => {
    world = await projectionWorld()
  })
  after(() => world.stop())
  const clientId = () => `client_${ulid()}` as ClientId

  it('shows a tenant with its limits and state', async () => {
    const id = ulid() as TenantId
    const now = '2026-01-01T10:00:00.123Z'
    await world.tenant(id, { type: 'RegisterTenant', id, name: 'Acme' }, { create: true, now })
    expect(await findTenant(world.db.pool, id)).to.deep.equal({
      id,
      name: 'Acme',
      limits: {},
      is_suspended: false,
      hold: null,
      erased_at: null,
      created_at: now,
      updated_at: now,
      revision: 0,
    })
    const later = '2026-01-02T10:00:00.000Z'
    await world.tenant(id, { type: 'ChangeTenantSettings', limits: { webhooks: 3, events_per_second: 10 } }, { now: later })
    await world.tenant(id, { type: 'SuspendTenant' }, { now: later })
    expect(await findTenant(world.db.pool, id)).to.deep.include({
      limits: { webhooks: 3, events_per_second: 10 },
      is_suspended: true,
      created_at: now,
      updated_at: later,
      revision: 2,
    })
    await world.tenant(id, { type: 'ResumeTenant' })
    expect(await findTenant(world.db.pool, id)).to.include({ is_suspended: false, revision: 3 })
    expect(await findTenant(world.db.pool, ulid() as TenantId)).to.equal(null)
  })
  it('lists tenants, newest first', async () => {
    const times = ['2030-01-01T00:00:00.000Z', '2031-01-01T00:00:00.000Z', '2032-01-01T00:00:00.000Z']
    const ids: TenantId[] = []
    for (const now of times) {
      const id = ulid() as TenantId
      await world.tenant(id, { type: 'RegisterTenant', id, name: now }, { create: true, now })
      ids.unshift(id)
    }
    const { rows, total } = await listTenants(world.db.pool, { limit: 2, offset: 0 })
    expect(rows.map((row) => row.id)).to.deep.equal(ids.slice(0, 2))
    expect(total).to.be.at.least(3)
    expect((await listTenants(world.db.pool, { limit: 1, offset: 2 })).rows[0]?.id).to.equal(ids[2])
    expect(await listTenants(world.db.pool, { limit: 5, offset: 1_000 })).to.deep.equal({ rows: [], total })
  })
  it('shows a client with the state of its tenant', async () => {
    const tenant = await world.newTenant()
    const id = clientId()
    const now = '2026-03-01T00:00:00.000Z'
    await world.tenant(tenant, { type: 'ChangeTenantSettings', limits: { requests_per_second: 7 } })
    const issued = await world.tenant(
      tenant,
      { type: 'IssueClient', client_id: id, name: 'Shop', scopes: ['write:events', 'read:events'], secret_hmac: 'aa' },
      { now: '2026-03-01T00:00:00.000Z' },
    )
    const time = issued.state.clients.get(id)?.created_at
    expect(time && time >= now).to.equal(true)
    expect(await findClient(world.db.pool, id)).to.deep.equal({
      client_id: id,
      tenant,
      name: 'Shop',
      scopes: ['write:events', 'read:events'],
      secret_hmac: 'aa',
      previous_hmac: null,
      previous_secret_until: null,
      generation: 1,
      revoked: false,
      created_at: time,
      updated_at: time,
      tenant_suspended: false,
      limits: { requests_per_second: 7 },
    })
    await world.tenant(tenant, { type: 'SuspendTenant' })
    expect(await findClient(world.db.pool, id)).to.include({ tenant_suspended: true })
    expect(await findClient(world.db.pool, clientId())).to.equal(null)
  })
  it('shows both secrets of a rotated client, and the end of a revoked one', async () => {
    const tenant = await world.newTenant()
    const id = clientId()
    const until = '2026-04-01T00:00:00.000Z'
    await world.tenant(tenant, { type: 'IssueClient', client_id: id, name: 'Shop', scopes: [], secret_hmac: 'aa' })
    await world.tenant(tenant, { type: 'RotateClientSecret', client_id: id, secret_hmac: 'bb', previous_secret_until: until })
    expect(await findClient(world.db.pool, id)).to.include({
      secret_hmac: 'bb',
      previous_hmac: 'aa',
      previous_secret_until: until,
      generation: 2,
      revoked: false,
    })
    await world.tenant(tenant, { type: 'RotateClientSecret', client_id: id, secret_hmac: 'cc', previous_secret_until: null })
    expect(await findClient(world.db.pool, id)).to.include({
      secret_hmac: 'cc',
      previous_hmac: null,
      previous_secret_until: null,
      generation: 3,
    })
    await world.tenant(tenant, { type: 'RevokeClient', client_id: id })
    expect(await findClient(world.db.pool, id)).to.include({ revoked: true, generation: 4 })
    expect(await findTenant(world.db.pool, tenant)).to.include({ revision: 4 })
  })
  it("lists a tenant's clients, newest first, and no others", async () => {
    const [tenant, other] = [await world.newTenant(), await world.newTenant()]
    const ids = [clientId(), clientId()]
    for (const [i, id] of ids.entries())
      await world.tenant(
        tenant,
        { type: 'IssueClient', client_id: id, name: `${i}`, scopes: [], secret_hmac: 'aa' },
        { now: new Date(Date.now() + i * 1_000).toISOString() },
      )
    const page = (tenant: TenantId, limit = 10, offset = 0) => listClients(world.db.pool, { tenant, limit, offset })
    const listed = async (...asked: Parameters<typeof page>) => (await page(...asked)).rows.map((client) => client.client_id)
    expect(await listed(tenant)).to.deep.equal([...ids].reverse())
    expect(await listed(tenant, 1, 1)).to.deep.equal([ids.at(-2)])
    expect(await page(other)).to.deep.equal({ rows: [], total: 0 })
    await world.tenant(tenant, { type: 'RevokeClient', client_id: ids.at(-1)! })
    expect(await listed(tenant)).to.deep.equal([...ids].reverse().slice(1))
  })
  it('gives a client id only to the tenant that had it first', async () => {
    const [first, second] = [await world.newTenant(), await world.newTenant()]
    const id = clientId()
    await world.tenant(first, { type: 'IssueClient', client_id: id, name: 'Mine', scopes: [], secret_hmac: 'aa' })
    await world.tenant(second, { type: 'IssueClient', client_id: id, name: 'Theirs', scopes: ['write:events'], secret_hmac: 'bb' })
    await world.tenant(second, { type: 'RotateClientSecret', client_id: id, secret_hmac: 'cc', previous_secret_until: null })
    await world.tenant(second, { type: 'RevokeClient', client_id: id })
    expect(await findClient(world.db.pool, id)).to.deep.include({ tenant: first, secret_hmac: 'aa', scopes: [], revoked: false })
  })
})
