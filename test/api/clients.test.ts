import { expect } from 'chai'
import { bearerScopes } from '../../src/events/tenant.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Reply } from '../support/api-client.ts'
import { waitFor } from '../support/wait-for.ts'

const nobody = '01ARZ3NDEKTSV4RRFFQ69G5FAV'

describe('/v1/tenants/:id/clients', () => {
  let api: TestApi
  let operator: TestClient
  let tenant: string
  before(async () => {
    api = await startApi()
    operator = await api.operator()
    tenant = (await api.call('POST', '/v1/tenants', { as: operator, body: { name: 'Acme' } })).get('data.id')
  })
  after(() => api.stop())

  const clients = (id = tenant) => `/v1/tenants/${id}/clients`
  const remember = (created: Reply): Reply => {
    if (created.has('data.client_secret')) api.secrets.add(created.get('data.client_secret'))
    return created
  }
  const issue = async (body: object = {}, id = tenant) =>
    remember(
      await api.call('POST', clients(id), { as: operator, body: { name: 'Shop', scopes: ['write:webhooks', 'read:webhooks'], ...body } }),
    )
  const rotate = async (client: string, body?: object) =>
    remember(await api.call('POST', `${clients()}/${client}/secret/rotate`, { as: operator, ...(body === undefined ? {} : { body }) }))
  const auth = async (id: string, secret: string) => {
    const response = await api.call('POST', '/v1/auth', {
      body: { grant_type: 'client_credentials', client_id: id, client_secret: secret },
    })
    if (response.status === 200) api.secrets.add(response.get('access_token'))
    return response
  }
  const tokenOf = async (id: string, secret: string) => ({ token: (await auth(id, secret)).get('access_token') })
  const opens = async (as: { token: string }) => (await api.call('GET', '/v1/webhooks', { as })).status === 200

  describe('POST', () => {
    it('returns 201 with the secret, which is never shown again, and forbids caching', async () => {
      const created = await issue()
      expect(created.status).to.equal(201)
      const [id, secret, at] = [created.get('data.client_id'), created.get('data.client_secret'), created.get('data.created_at')]
      expect(secret).to.match(/^[A-Za-z0-9_-]{43}$/)
      const shown = {
        client_id: id,
        name: 'Shop',
        scopes: ['write:webhooks', 'read:webhooks'],
        previous_secret_until: null,
        created_at: at,
        updated_at: at,
      }
      expect(created.body).to.deep.equal({ data: { ...shown, client_secret: secret }, error: null, pagination: null })
      expect(created.headers.get('cache-control')).to.equal('no-store')
      expect(created.headers.get('location')).to.equal(`${clients()}/${id}`)
      const read = await api.call('GET', `${clients()}/${id}`, { as: operator })
      expect(read.body).to.deep.equal({ data: shown, error: null, pagination: null })
    })
    it('returns 201, and the client works at once, in its tenant and with its scopes', async () => {
      const created = await issue({ scopes: ['read:webhooks'] })
      const as = await tokenOf(created.get('data.client_id'), created.get('data.client_secret'))
      expect(await opens(as)).to.equal(true)
      expect((await api.call('GET', '/v1/keys', { as })).status).to.equal(403)
    })
    it('returns 201 for the scope admin in the tenant `default`', async () => {
      const created = await issue({ scopes: ['admin'] }, operator.tenant)
      const as = await tokenOf(created.get('data.client_id'), created.get('data.client_secret'))
      expect((await api.call('GET', '/v1/tenants', { as })).status).to.equal(200)
    })
    it('returns 422 for the scope admin in another tenant, for no scope, and for an unknown scope', async () => {
      const before = await api.events()
      const refused = await issue({ scopes: ['admin'] })
      expect([refused.status, refused.get('error.details.0.path')]).to.deep.equal([422, 'scopes'])
      for (const body of [{ scopes: [] }, { scopes: ['write:everything'] }, { name: '' }, { client_id: 'mine' }])
        expect((await issue(body)).status).to.equal(422)
      expect(await api.events()).to.equal(before)
    })
    it('returns 404 for an unknown tenant', async () => {
      for (const id of [nobody, 'x']) expect((await issue({}, id)).status).to.equal(404)
    })
  })

  it('GET returns 200 with the clients that are not revoked, newest first, in pages', async () => {
    const other = (await api.call('POST', '/v1/tenants', { as: operator, body: { name: 'Other' } })).get('data.id')
    const ids = []
    for (const name of ['a', 'b', 'c']) ids.push((await issue({ name }, other)).get('data.client_id'))
    await api.call('DELETE', `${clients(other)}/${ids[1]}`, { as: operator })
    const page = await api.call('GET', clients(other), { as: operator })
    expect([page.get('data.0.client_id'), page.get('data.1.client_id'), page.get('pagination.total')]).to.deep.equal([ids[2], ids[0], '2'])
    expect(page.text).to.not.contain('secret_hmac')
    const second = await api.call('GET', `${clients(other)}?limit=1&offset=1`, { as: operator })
    expect(second.get('data.0.client_id')).to.equal(ids[0])
  })

  describe('rotation', () => {
    it('returns 200; both secrets get tokens, and earlier tokens stop working within a second', async () => {
      const created = await issue()
      const [id, former] = [created.get('data.client_id'), created.get('data.client_secret')]
      const old = await tokenOf(id, former)
      expect(await opens(old)).to.equal(true)
      const rotated = await rotate(id)
      expect(rotated.status).to.equal(200)
      expect(rotated.headers.get('cache-control')).to.equal('no-store')
      const until = Date.parse(rotated.get('data.previous_secret_until'))
      expect(until - Date.now()).to.be.within(86_300_000, 86_400_000)
      const newSecret = rotated.get('data.client_secret')
      expect(newSecret).to.not.equal(former)
      for (const secret of [former, newSecret]) expect(await opens(await tokenOf(id, secret))).to.equal(true)
      await waitFor(async () => !(await opens(old)), { within: 3_000 })
    })
    it('returns 200; after an overlap of a second, the former secret gets no more tokens', async () => {
      const created = await issue()
      const [id, former] = [created.get('data.client_id'), created.get('data.client_secret')]
      const rotated = await rotate(id, { overlap_seconds: 1 })
      await waitFor(async () => (await auth(id, former)).status === 401, { within: 6_000 })
      expect(Date.now()).to.be.at.least(Date.parse(rotated.get('data.previous_secret_until')))
      expect((await auth(id, rotated.get('data.client_secret'))).status).to.equal(200)
      const read = await api.call('GET', `${clients()}/${id}`, { as: operator })
      expect(read.text).to.contain('"previous_secret_until":null')
    })
    it('returns 200; without an overlap, the former secret ends at once', async () => {
      const created = await issue()
      const id = created.get('data.client_id')
      const rotated = await rotate(id, { overlap_seconds: 0 })
      expect(rotated.text).to.contain('"previous_secret_until":null')
      expect((await auth(id, created.get('data.client_secret'))).status).to.equal(401)
    })
    it('returns 422 for an invalid overlap', async () => {
      const id = (await issue()).get('data.client_id')
      for (const seconds of [-1, 604_801, 1.5, '1']) expect((await rotate(id, { overlap_seconds: seconds })).status).to.equal(422)
    })
    it('returns 404 for an unknown client, a revoked one, and one of another tenant', async () => {
      const id = (await issue()).get('data.client_id')
      await api.call('DELETE', `${clients()}/${id}`, { as: operator })
      for (const client of [id, operator.clientId, 'nobody', 'no%20id']) expect((await rotate(client)).status).to.equal(404)
    })
  })

  describe('DELETE', () => {
    it("returns 204, and the client's tokens stop working within a second; a second request gets 404", async () => {
      const created = await issue()
      const [id, secret] = [created.get('data.client_id'), created.get('data.client_secret')]
      const as = await tokenOf(id, secret)
      expect(await opens(as)).to.equal(true)
      const revocation = await api.call('DELETE', `${clients()}/${id}`, { as: operator })
      expect([revocation.status, revocation.text, revocation.headers.get('etag')]).to.deep.equal([204, '', null])
      expect((await auth(id, secret)).status).to.equal(401)
      await waitFor(async () => !(await opens(as)), { within: 3_000 })
      expect((await api.call('DELETE', `${clients()}/${id}`, { as: operator })).status).to.equal(404)
      expect((await api.call('GET', `${clients()}/${id}`, { as: operator })).status).to.equal(404)
    })
    it('returns 409 for the last admin, because without an admin the API could not create another one', async () => {
      const alone = await startApi()
      try {
        const last = await alone.operator()
        const path = `/v1/tenants/${last.tenant}/clients/${last.clientId}`
        const refused = await alone.call('DELETE', path, { as: last })
        expect([refused.status, refused.get('error.code')]).to.deep.equal([409, 'last_admin'])
        await alone.sibling(last, bearerScopes)
        expect((await alone.call('DELETE', path, { as: last })).status).to.equal(204)
      } finally {
        await alone.stop()
      }
    })
    it('returns 404 for a client of another tenant', async () => {
      const before = await api.events()
      expect((await api.call('DELETE', `${clients()}/${operator.clientId}`, { as: operator })).status).to.equal(404)
      expect(await api.events()).to.equal(before)
    })
  })
})
