import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('DELETE /v1/keys/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())

  it('returns 204 without a body; a second request gets 404', async () => {
    const { id } = await api.key(admin)
    const deletion = await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    expect(deletion.status).to.equal(204)
    expect(deletion.text).to.equal('')
    expect(deletion.headers.get('content-type')).to.equal(null)
    expect(deletion.headers.get('etag')).to.equal(null)
    expect((await api.call('DELETE', `/v1/keys/${id}`, { as: admin })).status).to.equal(404)
  })
  it('returns 204, and the key stops working within a second', async () => {
    const { id, key } = await api.key(admin)
    expect((await api.call('GET', '/v1/webhooks', { as: { key } })).status).to.equal(200)
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    await waitFor(async () => (await api.call('GET', '/v1/webhooks', { as: { key } })).status === 401, { within: 3_000 })
  })
  it('returns 204, and the webhooks that the key created stay', async () => {
    const { id, key } = await api.key(admin)
    const webhook = await api.webhook({ key })
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    const keptWebhook = await api.call('GET', `/v1/webhooks/${webhook}`, { as: admin })
    expect(keptWebhook.get('is_active')).to.equal('true')
    expect(keptWebhook.get('key_id')).to.equal(id)
  })
  it('returns 204 for webhooks=deactivate, and stores it in the event', async () => {
    const { id } = await api.key(admin)
    expect((await api.call('DELETE', `/v1/keys/${id}?webhooks=deactivate`, { as: admin })).status).to.equal(204)
    const { events } = await api.deps.streams.read(`key-${id}`)
    expect(events.at(-1)).to.deep.include({ type: 'KeyDeleted', data: { id, webhooks: 'deactivate' } })
  })
  it('returns 422 for an unknown value of webhooks', async () => {
    const { id } = await api.key(admin)
    const refused = await api.call('DELETE', `/v1/keys/${id}?webhooks=delete`, { as: admin })
    expect([refused.status, refused.get('error.details.0.path')]).to.deep.equal([422, 'webhooks'])
    expect((await api.call('GET', `/v1/keys/${id}`, { as: admin })).status).to.equal(200)
  })
  it('returns 412 when If-Match names another revision', async () => {
    const { id } = await api.key(admin)
    expect((await api.call('DELETE', `/v1/keys/${id}`, { as: admin, headers: { 'if-match': '"1"' } })).status).to.equal(412)
    expect((await api.call('DELETE', `/v1/keys/${id}`, { as: admin, headers: { 'if-match': '"0"' } })).status).to.equal(204)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x'])
      expect((await api.call('DELETE', `/v1/keys/${id}`, { as: admin })).status).to.equal(404)
  })
})
