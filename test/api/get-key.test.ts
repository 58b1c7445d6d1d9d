import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('GET /v1/keys/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())

  it('returns 200 with the key as it was created, and its revision', async () => {
    const created = await api.call('POST', '/v1/keys', { as: admin, body: { name: 'Key 1', scopes: ['read:webhooks'] } })
    api.secrets.add(created.get('data.key'))
    const read = await api.call('GET', `/v1/keys/${created.get('data.id')}`, { as: admin })
    expect(read.status).to.equal(200)
    expect(read.body).to.deep.equal(created.body)
    expect(read.headers.get('etag')).to.equal('"0"')
    expect(read.headers.get('cache-control')).to.equal('no-store')
  })
  it("returns 200 with a masked value to callers who lack one of the key's scopes", async () => {
    const { id, key } = await api.key(admin, ['read:webhooks', 'write:webhooks'])
    const reader = await api.sibling(admin, ['read:keys', 'read:webhooks'])
    const read = await api.call('GET', `/v1/keys/${id}`, { as: reader })
    expect(read.get('data.key')).to.equal(`${key.slice(0, 4)}********`)
  })
  it('returns 200 with the time of the last use, or null before the first', async () => {
    const { id, key } = await api.key(admin)
    expect((await api.call('GET', `/v1/keys/${id}`, { as: admin })).text).to.contain('"last_accessed_at":null')
    const before = new Date().toISOString()
    await api.call('GET', '/v1/webhooks', { as: { key } })
    const usedKey = await waitFor(async () => {
      const read = await api.call('GET', `/v1/keys/${id}`, { as: admin })
      return read.text.includes('"last_accessed_at":null') ? null : read.get('data.last_accessed_at')
    })
    expect(usedKey >= before && usedKey <= new Date().toISOString()).to.equal(true)
  })
  it('returns 200 without a body for HEAD', async () => {
    const { id } = await api.key(admin)
    const head = await api.call('HEAD', `/v1/keys/${id}`, { as: admin })
    expect(head.status).to.equal(200)
    expect(head.text).to.equal('')
    expect(Number(head.headers.get('content-length'))).to.be.greaterThan(100)
  })
  for (const [title, id] of [
    ['an id that does not exist', '01ARZ3NDEKTSV4RRFFQ69G5FAV'],
    ['a text that is not an id', 'x'],
    ['an id with a line end in it', '01ARZ3NDEKTSV4RRFFQ69G5FAV%0A'],
    ['an SQL quote', "'%20or%201=1"],
  ])
    it(`returns 404 for ${title}`, async () => {
      const read = await api.call('GET', `/v1/keys/${id}`, { as: admin })
      expect(read.status).to.equal(404)
      expect(read.get('error.code')).to.equal('not_found')
    })
  it('returns 404 for a deleted key', async () => {
    const { id } = await api.key(admin)
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    expect((await api.call('GET', `/v1/keys/${id}`, { as: admin })).status).to.equal(404)
  })
  it('returns 400 for a path with a broken escape', async () => {
    const read = await api.call('GET', '/v1/keys/%E0%A4%A', { as: admin })
    expect(read.status).to.equal(400)
    expect(read.get('error.code')).to.equal('invalid_request')
  })
})
