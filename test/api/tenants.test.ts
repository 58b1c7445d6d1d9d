import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

const nobody = '01ARZ3NDEKTSV4RRFFQ69G5FAV'
const noLimits = { webhooks: null, events_per_second: null, requests_per_second: null }

describe('/v1/tenants', () => {
  let api: TestApi
  let operator: TestClient
  before(async () => {
    api = await startApi()
    operator = await api.operator()
  })
  after(() => api.stop())
  const create = async (body: object = {}) => api.call('POST', '/v1/tenants', { as: operator, body: { name: 'Acme', ...body } })
  const newTenant = async () => (await create()).get('data.id')

  describe('POST', () => {
    it('returns 201 with the tenant, its revision, and its location', async () => {
      const created = await create()
      expect(created.status).to.equal(201)
      const id = created.get('data.id')
      const at = created.get('data.created_at')
      expect(created.body).to.deep.equal({
        data: { id, name: 'Acme', limits: noLimits, is_suspended: false, hold: null, erased_at: null, created_at: at, updated_at: at },
        error: null,
        pagination: null,
      })
      expect(created.headers.get('etag')).to.equal('"0"')
      expect(created.headers.get('location')).to.equal(`/v1/tenants/${id}`)
      const read = await api.call('GET', `/v1/tenants/${id}`, { as: operator })
      expect(read.body).to.deep.equal(created.body)
      expect(read.headers.get('etag')).to.equal('"0"')
    })
    it('returns 201 with limits, where null stands for the default', async () => {
      const created = await create({ limits: { webhooks: 2, events_per_second: null } })
      expect(created.status).to.equal(201)
      const read = await api.call('GET', `/v1/tenants/${created.get('data.id')}`, { as: operator })
      expect(read.body).to.deep.include({ error: null })
      expect(JSON.parse(read.text).data.limits).to.deep.equal({ ...noLimits, webhooks: 2 })
    })
    it('returns 201 and keeps the name, except for characters that Postgres cannot store', async () => {
      expect((await create({ name: 'ü 漢 "\u0000' })).get('data.name')).to.equal('ü 漢 "\ufffd')
    })
    it('returns 422 for a missing name, invalid limits, and unknown fields', async () => {
      const before = await api.events()
      for (const body of [
        { name: '' },
        { limits: { webhooks: 0 } },
        { limits: { webhooks: 1.5 } },
        { limits: { cats: 1 } },
        { id: nobody },
      ]) {
        const refused = await create(body)
        expect([refused.status, refused.get('error.code')]).to.deep.equal([422, 'validation_failed'])
      }
      expect(await api.events()).to.equal(before)
    })
  })

  it('GET returns 200 with tenants, newest first, in pages', async () => {
    const [older, newer] = [await newTenant(), await newTenant()]
    const page = await api.call('GET', '/v1/tenants?limit=2', { as: operator })
    expect([page.get('data.0.id'), page.get('data.1.id')]).to.deep.equal([newer, older])
    expect(Number(page.get('pagination.total'))).to.be.greaterThan(2)
    const second = await api.call('GET', '/v1/tenants?limit=1&offset=1', { as: operator })
    expect(second.get('data.0.id')).to.equal(older)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of [nobody, 'x']) {
      expect((await api.call('GET', `/v1/tenants/${id}`, { as: operator })).status).to.equal(404)
      expect((await api.call('PATCH', `/v1/tenants/${id}`, { as: operator, body: {} })).status).to.equal(404)
      expect((await api.call('POST', `/v1/tenants/${id}/suspend`, { as: operator })).status).to.equal(404)
      expect((await api.call('POST', `/v1/tenants/${id}/resume`, { as: operator })).status).to.equal(404)
    }
  })

  describe('PATCH', () => {
    it('returns 200 and changes the given limits; null removes a limit, and {} changes nothing', async () => {
      const id = (await create({ limits: { webhooks: 2, events_per_second: 5 } })).get('data.id')
      const changed = await api.call('PATCH', `/v1/tenants/${id}`, {
        as: operator,
        body: { limits: { events_per_second: null, requests_per_second: 7 } },
      })
      expect(changed.status).to.equal(200)
      expect(JSON.parse(changed.text).data.limits).to.deep.equal({ webhooks: 2, events_per_second: null, requests_per_second: 7 })
      const before = await api.events()
      const unchanged = await api.call('PATCH', `/v1/tenants/${id}`, { as: operator, body: {} })
      expect([unchanged.status, unchanged.text]).to.deep.equal([200, changed.text])
      expect(await api.events()).to.equal(before)
    })
    it('returns 200, and the limit takes effect within a second', async () => {
      const client = await api.tenant()
      await api.webhook(client)
      await api.call('PATCH', `/v1/tenants/${client.tenant}`, { as: operator, body: { limits: { webhooks: 1 } } })
      await waitFor(
        async () =>
          (await api.call('POST', '/v1/webhooks', { as: client, body: { callback_url: 'https://127.0.0.1/x', event: 'a' } })).status ===
          409,
        { within: 3_000 },
      )
    })
    it('returns 412 when If-Match names another revision', async () => {
      const id = await newTenant()
      const refused = await api.call('PATCH', `/v1/tenants/${id}`, { as: operator, body: {}, headers: { 'if-match': '"1"' } })
      expect(refused.status).to.equal(412)
    })
    it('returns 422 for a name, which cannot be changed', async () => {
      expect((await api.call('PATCH', `/v1/tenants/${await newTenant()}`, { as: operator, body: { name: 'x' } })).status).to.equal(422)
    })
  })

  describe('suspend and resume', () => {
    it('make every route return 403 to clients and keys of the suspended tenant within a second, and to no other', async () => {
      const client = await api.tenant()
      const other = await api.tenant()
      const key = await api.key(client)
      const suspended = await api.call('POST', `/v1/tenants/${client.tenant}/suspend`, { as: operator })
      expect([suspended.status, suspended.get('data.is_suspended')]).to.deep.equal([200, 'true'])
      const requests: [string, string, object][] = [
        ['GET', '/v1/webhooks', { as: client }],
        ['GET', '/v1/webhooks', { as: key }],
        ['GET', '/v1/keys', { as: client }],
        ['POST', '/v1/events', { as: client, body: { event: 'a', payload: {} } }],
      ]
      for (const [method, path, as] of requests) {
        const refused = await waitFor(
          async () => {
            const response = await api.call(method, path, as)
            return response.status === 403 ? response : undefined
          },
          { within: 3_000 },
        )
        expect(refused.get('error.code')).to.equal('tenant_suspended')
      }
      const credentials = { grant_type: 'client_credentials', client_id: client.clientId, client_secret: client.secret }
      const token = await api.call('POST', '/v1/auth', { body: credentials })
      expect([token.status, token.get('error')]).to.deep.equal([403, 'unauthorized_client'])
      expect((await api.call('GET', '/v1/webhooks', { as: other })).status).to.equal(200)

      // The audit log and the past stay open to the auditor of the tenant, who also gets new tokens, and to the auditor of the service.
      const auditing = await api.call('POST', '/v1/auth', { body: { ...credentials, scope: 'read:audit' } })
      const auditor = { token: auditing.get('access_token') }
      const past = `/v1/webhooks?as_of=${new Date().toISOString()}`
      for (const as of [auditor, client])
        for (const path of ['/v1/audit', `/v1/tenants/${client.tenant}/history`, past])
          expect((await api.call('GET', path, { as })).status, path).to.equal(200)
      for (const path of ['/v1/webhooks', '/v1/me', '/v1/events']) {
        const refused = await api.call('GET', path, { as: auditor })
        expect([refused.status, refused.get('error.code')], path).to.deep.equal([403, 'tenant_suspended'])
      }
      const ofService = await api.sibling(operator, ['audit'])
      const reads = await api.call('GET', '/v1/webhooks', { as: ofService, headers: { 'kolbak-tenant': client.tenant } })
      expect(reads.status).to.equal(200)

      const resumed = await api.call('POST', `/v1/tenants/${client.tenant}/resume`, { as: operator })
      expect([resumed.status, resumed.get('data.is_suspended')]).to.deep.equal([200, 'false'])
      for (const [method, path, as] of requests)
        await waitFor(async () => (await api.call(method, path, as)).status < 300, { within: 3_000 })
    })
    it('return 200 a second time, without another event', async () => {
      const id = await newTenant()
      await api.call('POST', `/v1/tenants/${id}/suspend`, { as: operator })
      const before = await api.events()
      expect((await api.call('POST', `/v1/tenants/${id}/suspend`, { as: operator })).status).to.equal(200)
      expect(await api.events()).to.equal(before)
    })
    it('return 409 for the tenant `default`, because its admins could not resume it', async () => {
      const refused = await api.call('POST', `/v1/tenants/${operator.tenant}/suspend`, { as: operator })
      expect([refused.status, refused.get('error.code')]).to.deep.equal([409, 'default_tenant'])
    })
  })
})
