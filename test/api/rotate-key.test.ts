import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('POST /v1/keys/:id/rotate', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const rotate = async (id: string, body?: object, headers = {}) => {
    const response = await api.call('POST', `/v1/keys/${id}/rotate`, { as: admin, headers, ...(body === undefined ? {} : { body }) })
    if (response.status === 200) api.secrets.add(response.get('data.key'))
    return response
  }
  const opens = async (key: string) => (await api.call('GET', '/v1/webhooks', { as: { key } })).status === 200

  it('returns 200 with a new value; id and webhooks stay, and both values work for a day', async () => {
    const { id, key } = await api.key(admin)
    const webhook = await api.webhook({ key })
    const rotated = await rotate(id)
    expect(rotated.status).to.equal(200)
    const newValue = rotated.get('data.key')
    expect(newValue).to.match(/^[A-Z0-9]{12}$/)
    expect(newValue).to.not.equal(key)
    expect(rotated.get('data.id')).to.equal(id)
    expect(Date.parse(rotated.get('data.previous_key_until')) - Date.now()).to.be.within(86_300_000, 86_400_000)
    expect(rotated.headers.get('cache-control')).to.equal('no-store')
    expect(rotated.headers.get('etag')).to.equal('"1"')
    for (const value of [key, newValue]) {
      const read = await api.call('GET', `/v1/webhooks/${webhook}`, { as: { key: value } })
      expect([read.status, read.get('key_id')]).to.deep.equal([200, id])
    }
    const read = await api.call('GET', `/v1/keys/${id}`, { as: admin })
    expect(read.get('data.key')).to.equal(newValue)
  })
  it('returns 200; after an overlap of a second, the former value stops working', async () => {
    const { id, key } = await api.key(admin)
    const rotated = await rotate(id, { overlap_seconds: 1 })
    expect(await opens(rotated.get('data.key'))).to.equal(true)
    await waitFor(async () => !(await opens(key)), { within: 7_000 })
    expect(Date.now()).to.be.at.least(Date.parse(rotated.get('data.previous_key_until')))
    expect(await opens(rotated.get('data.key'))).to.equal(true)
  })
  it('returns 200; without an overlap, the former value stops working within a second', async () => {
    const { id, key } = await api.key(admin)
    expect(await opens(key)).to.equal(true)
    const rotated = await rotate(id, { overlap_seconds: 0 })
    expect(rotated.text).to.contain('"previous_key_until":null')
    await waitFor(async () => !(await opens(key)), { within: 3_000 })
  })
  it('returns 200 a second time; only the latest of the former values still works', async () => {
    const { id, key } = await api.key(admin)
    const second = (await rotate(id)).get('data.key')
    const thirdValue = (await rotate(id)).get('data.key')
    await waitFor(async () => !(await opens(key)), { within: 3_000 })
    for (const value of [second, thirdValue]) expect(await opens(value)).to.equal(true)
  })
  it('returns 403 scope_exceeds_caller to a caller who may not read the value', async () => {
    const { id } = await api.key(admin)
    const lesser = await api.sibling(admin, ['write:keys', 'read:webhooks'])
    const before = await api.events()
    const refused = await api.call('POST', `/v1/keys/${id}/rotate`, { as: lesser })
    expect([refused.status, refused.get('error.code')]).to.deep.equal([403, 'scope_exceeds_caller'])
    expect(await api.events()).to.equal(before)
  })
  it('returns 404 for an unknown id, a deleted key, and a text that is not an id', async () => {
    const { id } = await api.key(admin)
    await api.call('DELETE', `/v1/keys/${id}`, { as: admin })
    for (const key of [id, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) expect((await rotate(key)).status).to.equal(404)
  })
  it('returns 412 when If-Match names another revision', async () => {
    const { id } = await api.key(admin)
    expect((await rotate(id, {}, { 'if-match': '"1"' })).status).to.equal(412)
    expect((await rotate(id, {}, { 'if-match': '"0"' })).status).to.equal(200)
  })
  it('returns 422 for an invalid overlap', async () => {
    const { id } = await api.key(admin)
    for (const seconds of [-1, 604_801, 0.5, null]) expect((await rotate(id, { overlap_seconds: seconds })).status).to.equal(422)
  })
})
