import { expect } from 'chai'
import { ulid } from 'ulid'
import type { Webhook } from '../../src/events/webhook.ts'
import type { KeyEraser, Keyring } from '../../src/lib/keyring.ts'
import { destroyErasedKeys } from '../../src/service/destroy-erased-keys.ts'
import type { Shared } from '../../src/service/shared.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { route } from '../support/routed.ts'
import { waitFor } from '../support/wait-for.ts'

describe('DELETE /v1/tenants/:id', () => {
  let api: TestApi
  let operator: TestClient
  before(async () => {
    api = await startApi()
    operator = await api.operator()
  })
  after(() => api.stop())
  const path = (id: string) => `/v1/tenants/${id}`
  const suspend = (id: string) => api.call('POST', `${path(id)}/suspend`, { as: operator })
  const erase = (id: string, body: object = { confirm: id }, headers = {}) => api.call('DELETE', path(id), { as: operator, body, headers })
  const codeOf = ({ status, get }: Awaited<ReturnType<typeof erase>>) => [status, get('error.code')]
  const keysOf = async (owner: string) =>
    (await api.db.pool.query('select wrapped is null as is_gone, erased_by from data_keys where owner = $1', [owner])).rows
  const typesOf = async (id: string): Promise<string[]> =>
    (await api.deps.store.read(`tenant-${id}`)).map(({ type }) => type).filter((type) => type.includes('Era'))
  /** Creates a tenant with a webhook and a routed event. */
  const busyTenant = async () => {
    const client = await api.tenant()
    const webhook = await api.webhook(client, { description: 'personal words' })
    const id = ulid()
    await api.call('POST', '/v1/events', { as: client, body: { id, event: 'order.created', payload: { name: 'Jane' } } })
    await route(api, api.produced.at(-1)!, [webhook])
    return { client, tenant: client.tenant, webhook, event: id }
  }

  it('destroys the data keys, says so before and after, and cannot be undone', async () => {
    const { tenant, client } = await busyTenant()
    await suspend(tenant)
    const erased = await erase(tenant, undefined, { 'kolbak-reason': 'the contract has ended' })
    expect(erased.status, erased.text).to.equal(200)
    const { data } = erased.body as { data: Record<string, unknown> }
    expect(data).to.include({ id: tenant })
    expect((data.remains as { where: string }[]).map(({ where }) => where)).to.deep.equal(['readable', 'receivers', 'backups'])
    const stored = await api.deps.store.read(`tenant-${tenant}`)
    const [asked, completed] = stored.filter(({ type }) => type.startsWith('TenantEra'))
    expect(asked).to.deep.include({ id: data.asked_event_id, type: 'TenantErasureAsked' })
    expect(asked!.metadata).to.include({ actor: `client:${operator.clientId}`, reason: 'the contract has ended' })
    expect(completed).to.deep.include({ id: data.erased_event_id, type: 'TenantErased' })
    expect(completed!.metadata.actor).to.equal('system:erasure-manager')
    for (const { is_gone, erased_by } of await keysOf(tenant)) expect([is_gone, Buffer.isBuffer(erased_by)]).to.deep.equal([true, true])
    expect((await api.call('GET', path(tenant), { as: operator })).get('data.erased_at')).to.equal(data.erased_at)
    const again = await erase(tenant)
    expect([again.status, again.get('data.erased_event_id')]).to.deep.equal([200, data.erased_event_id])
    for (const refused of [
      await api.call('POST', `${path(tenant)}/resume`, { as: operator }),
      await api.call('PATCH', path(tenant), { as: operator, body: { limits: { webhooks: 1 } } }),
      await api.call('POST', `${path(tenant)}/clients`, { as: operator, body: { name: 'x', scopes: ['read:events'] } }),
    ])
      expect(codeOf(refused)).to.deep.equal([409, 'tenant_erased'])
    await waitFor(async () => (await api.call('GET', '/v1/webhooks', { as: client })).status === 403)
  })
  it('leaves the history and the read models readable, with [erased] in the place of each sealed value', async () => {
    const { tenant, webhook, event } = await busyTenant()
    const before = new Date().toISOString()
    await suspend(tenant)
    await erase(tenant)
    const auditor = await api.sibling(operator, ['audit'])
    const read = async (url: string) => {
      const response = await api.call('GET', url, { as: auditor, headers: { 'kolbak-tenant': tenant } })
      expect(response.status, `${url}: ${response.text}`).to.equal(200)
      return response.text
    }
    const lines = (await read('/v1/audit'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.filter((line) => 'fault' in line)).to.deep.equal([])
    const line = lines.find(({ type }) => type === 'WebhookCreated')
    expect(line.data).to.include({ callback_url: '[erased]', description: '[erased]', event: 'order.created' })
    expect(line.metadata.origin).to.equal('[erased]')
    expect(await read(`/v1/webhooks/${webhook}/history`)).to.include('[erased]')
    expect(JSON.parse(await read(`/v1/webhooks?as_of=${before}`)).data[0]).to.include({ id: webhook, callback_url: '[erased]' })
    expect(JSON.parse(await read(`/v1/events/${event}`)).data).to.include({ payload: null, payload_reason: 'payload_erased' })
    const { events } = await api.deps.streams.read(`webhook-${webhook}`)
    const created = events[0]!.data as Webhook
    expect([created.callback_url, created.description, created.event]).to.deep.equal(['[erased]', '[erased]', 'order.created'])
    const row = await waitFor(async () => {
      const { rows } = await api.db.pool.query('select is_active, deleted_at from webhook_subscriptions where id = $1', [webhook])
      return rows[0].deleted_at === null ? null : rows[0]
    })
    expect(row.is_active).to.equal(false)
    const vault = await api.deps.keyring.vault(tenant)
    expect(vault.isErased).to.equal(true)
    expect((await api.db.pool.query('select is_suspended from webhook_tenants where tenant = $1', [tenant])).rows).to.deep.equal([
      { is_suspended: false }, // the tenant is not suspended any more, so that deliveries that wait for it end
    ])
  })
  it('destroys keys again that somebody has put back, and leaves those of other tenants', async () => {
    const [{ tenant }, other] = [await busyTenant(), await busyTenant()]
    const { rows } = await api.db.pool.query('select purpose, wrapped from data_keys where owner = $1', [tenant])
    await suspend(tenant)
    await erase(tenant)
    const destroyAgain = () => destroyErasedKeys({ ...api.deps, pools: { reads: api.db.pool } } as unknown as Shared)
    const putBack = [
      () =>
        api.db.pool.query(
          `update data_keys d set wrapped = old.wrapped, erased_by = null from unnest($2::text[], $3::bytea[]) as old (purpose, wrapped)
           where owner = $1 and d.purpose = old.purpose`,
          [tenant, rows.map(({ purpose }) => purpose), rows.map(({ wrapped }) => wrapped)],
        ),
      () => api.db.pool.query('delete from data_keys where owner = $1', [tenant]),
    ]
    for (const change of putBack) {
      await change()
      await destroyAgain()
      const keys = await keysOf(tenant)
      expect(keys.map(({ is_gone, erased_by }) => [is_gone, erased_by !== null])).to.deep.equal([
        [true, true],
        [true, true],
      ])
    }
    expect((await keysOf(other.tenant)).every(({ is_gone }) => !is_gone)).to.equal(true)
  })
  it('makes no new key in the place of one that is missing: requests fail, and say so', async () => {
    const { tenant, client } = await busyTenant()
    await api.db.pool.query('delete from data_keys where owner = $1', [tenant])
    ;(api.deps.keyring as Keyring & KeyEraser).forgetAll()
    const refused = await api.call('GET', '/v1/webhooks', { as: client })
    expect(codeOf(refused)).to.deep.equal([500, 'key_missing'])
    expect(await keysOf(tenant)).to.deep.equal([])
  })
  it('returns 409 for a tenant that is not suspended, 422 without its id, and 404 for an unknown one', async () => {
    const { tenant } = await busyTenant()
    expect(codeOf(await erase(tenant))).to.deep.equal([409, 'not_suspended'])
    expect(codeOf(await erase(tenant, {}))).to.deep.equal([422, 'validation_failed'])
    expect(codeOf(await erase(tenant, { confirm: ulid() }))).to.deep.equal([422, 'validation_failed'])
    const unknown = ulid()
    expect((await erase(unknown)).status).to.equal(404)
    expect(await typesOf(tenant)).to.deep.equal([])
    expect((await keysOf(tenant)).every(({ is_gone }) => !is_gone)).to.equal(true)
  })

  describe('a legal hold', () => {
    it('forbids both erasures until it is released', async () => {
      const { client, tenant, event } = await busyTenant()
      const held = await api.call('POST', `${path(tenant)}/hold`, { as: operator, body: { reason: 'Lawsuit 17' } })
      expect([held.status, held.get('data.hold.reason')]).to.deep.equal([200, 'Lawsuit 17'])
      expect((await api.call('GET', path(tenant), { as: operator })).get('data.hold.reason')).to.equal('Lawsuit 17')
      const ofPayload = () => api.call('DELETE', `/v1/events/${event}/payload`, { as: client })
      expect(codeOf(await ofPayload())).to.deep.equal([409, 'on_hold'])
      const released = await api.call('DELETE', `${path(tenant)}/hold`, { as: operator })
      expect([released.status, (released.body as { data: { hold: unknown } }).data.hold]).to.deep.equal([200, null])
      expect((await ofPayload()).status).to.equal(200)
      await api.call('POST', `${path(tenant)}/hold`, { as: operator, body: { reason: 'Lawsuit 18', until: '2099-01-01T00:00:00+01:00' } })
      await suspend(tenant)
      const refused = await erase(tenant)
      expect(codeOf(refused)).to.deep.equal([409, 'on_hold'])
      expect(refused.get('error.message')).to.include('2098-12-31T23:00:00.000Z')
      await api.call('DELETE', `${path(tenant)}/hold`, { as: operator })
      expect((await erase(tenant)).status).to.equal(200)
    })
    it('ends by itself at its time', async () => {
      const { tenant } = await busyTenant()
      await api.call('POST', `${path(tenant)}/hold`, { as: operator, body: { reason: 'Past', until: '2020-01-01T00:00:00Z' } })
      await suspend(tenant)
      expect((await erase(tenant)).status).to.equal(200)
    })
    it('needs a reason, and is refused for an erased tenant', async () => {
      const { tenant } = await busyTenant()
      for (const body of [{}, { reason: '' }, { reason: 'x', until: 'tomorrow' }])
        expect((await api.call('POST', `${path(tenant)}/hold`, { as: operator, body })).status).to.equal(422)
      await suspend(tenant)
      await erase(tenant)
      expect(codeOf(await api.call('POST', `${path(tenant)}/hold`, { as: operator, body: { reason: 'x' } }))).to.deep.equal([
        ...[409, 'tenant_erased'],
      ])
    })
  })
})
