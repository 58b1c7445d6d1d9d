import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('DELETE /v1/webhooks/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())

  it('returns 204 without a body; the webhook disappears from reads and lists at once, and a second request gets 404', async () => {
    const id = await api.webhook(admin)
    const deletion = await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })
    expect(deletion.status).to.equal(204)
    expect(deletion.text).to.equal('')
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: admin })).status).to.equal(404)
    expect((await api.call('GET', `/v1/webhooks?ids=${id}`, { as: admin })).get('pagination.total')).to.equal('0')
    const before = await api.events()
    expect((await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })).status).to.equal(404)
    expect(await api.events()).to.equal(before)
  })
  it('returns 204 to the key that created the webhook, and 404 to any other, which deletes nothing', async () => {
    const [maker, other] = [await api.key(admin), await api.key(admin)]
    const id = await api.webhook(maker)
    expect((await api.call('DELETE', `/v1/webhooks/${id}`, { as: other })).status).to.equal(404)
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: maker })).status).to.equal(200)
    expect((await api.call('DELETE', `/v1/webhooks/${id}`, { as: maker })).status).to.equal(204)
  })
  it('returns 412 when If-Match names another revision', async () => {
    const id = await api.webhook(admin)
    expect((await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin, headers: { 'if-match': '"1"' } })).status).to.equal(412)
    expect((await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin, headers: { 'if-match': '*' } })).status).to.equal(204)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x'])
      expect((await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })).status).to.equal(404)
  })
})
