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

  it('200 shows the webhook without an envelope and without its secret', async () => {
    const made = await api.call('POST', '/v1/webhooks', {
      as: admin,
      body: { callback_url: localUrl, event: 'order.*', retry_delays: [1, 2.5] },
    })
    const { secret, ...shown } = JSON.parse(made.text)
    api.secrets.add(secret)
    const read = await api.call('GET', `/v1/webhooks/${made.get('id')}`, { as: admin })
    expect(read.status).to.equal(200)
    expect(read.body).to.deep.equal(shown)
    expect(read.headers.get('etag')).to.equal('"0"')
  })
  it("200 for the key that created it, and for the tenant's clients", async () => {
    const key = await api.key(admin)
    const id = await api.webhook(key)
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: key })).get('key_id')).to.equal(key.id)
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: admin })).status).to.equal(200)
  })
  it("404 for a key that did not create it, also for the client's own", async () => {
    const [maker, other] = [await api.key(admin), await api.key(admin)]
    for (const id of [await api.webhook(maker), await api.webhook(admin)])
      expect((await api.call('GET', `/v1/webhooks/${id}`, { as: other })).status).to.equal(404)
  })
  it('404 for what is deleted, does not exist, or is no id', async () => {
    const id = await api.webhook(admin)
    await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })
    for (const missing of [id, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) {
      const read = await api.call('GET', `/v1/webhooks/${missing}`, { as: admin })
      expect(read.status).to.equal(404)
      expect(read.get('error.code')).to.equal('not_found')
    }
  })
})
