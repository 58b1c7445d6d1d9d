import { expect } from 'chai'
import { localUrl, startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('GET /v1/webhooks/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())

  it('returns 200 with the webhook, without an envelope and without its secret', async () => {
    const created = await api.call('POST', '/v1/webhooks', {
      as: admin,
      body: { callback_url: localUrl, event: 'order.*', retry_delays: [1, 2.5] },
    })
    const { secret, ...shown } = JSON.parse(created.text)
    api.secrets.add(secret)
    const read = await api.call('GET', `/v1/webhooks/${created.get('id')}`, { as: admin })
    expect(read.status).to.equal(200)
    expect(read.body).to.deep.equal(shown)
    expect(read.headers.get('etag')).to.equal('"0"')
  })
  it("returns 200 to the key that created the webhook, and to the tenant's clients", async () => {
    const key = await api.key(admin)
    const id = await api.webhook(key)
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: key })).get('key_id')).to.equal(key.id)
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: admin })).status).to.equal(200)
  })
  it('returns 404 to a key that did not create the webhook, even if a client of the tenant created it', async () => {
    const [maker, other] = [await api.key(admin), await api.key(admin)]
    for (const id of [await api.webhook(maker), await api.webhook(admin)])
      expect((await api.call('GET', `/v1/webhooks/${id}`, { as: other })).status).to.equal(404)
  })
  it('returns 404 for a deleted webhook, an unknown id, and a text that is not an id', async () => {
    const id = await api.webhook(admin)
    await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })
    for (const missing of [id, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) {
      const read = await api.call('GET', `/v1/webhooks/${missing}`, { as: admin })
      expect(read.status).to.equal(404)
      expect(read.get('error.code')).to.equal('not_found')
    }
  })
})
