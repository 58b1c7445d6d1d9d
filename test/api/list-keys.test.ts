import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('GET /v1/keys', () => {
  let api: TestApi
  let admin: TestClient
  const ids: string[] = []
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
    for (let i = 0; i < 5; i++) ids.unshift((await api.key(admin)).id)
  })
  after(() => api.stop())
  const idsOf = (text: string): string[] => JSON.parse(text).data.map((row: { id: string }) => row.id)

  it('returns 200 with the newest first, 20 by default, and the total', async () => {
    const page = await api.call('GET', '/v1/keys', { as: admin })
    expect(page.status).to.equal(200)
    expect(idsOf(page.text)).to.deep.equal(ids)
    expect(JSON.parse(page.text).pagination).to.deep.equal({ limit: 20, offset: 0, total: 5 })
    expect(page.headers.get('cache-control')).to.equal('no-store')
  })
  it('returns 200 with pages by limit and offset, also beyond the end', async () => {
    const middle = await api.call('GET', '/v1/keys?limit=2&offset=1', { as: admin })
    expect(idsOf(middle.text)).to.deep.equal(ids.slice(1, 3))
    expect(JSON.parse(middle.text).pagination).to.deep.equal({ limit: 2, offset: 1, total: 5 })
    const beyond = await api.call('GET', '/v1/keys?offset=2147483647', { as: admin })
    expect(JSON.parse(beyond.text)).to.deep.equal({ data: [], error: null, pagination: { limit: 20, offset: 2_147_483_647, total: 5 } })
  })
  it('returns 200 without keys of another tenant', async () => {
    const other = await api.tenant()
    expect(JSON.parse((await api.call('GET', '/v1/keys', { as: other })).text).pagination.total).to.equal(0)
  })
  it('returns 200 with masked values of keys whose scopes the caller lacks', async () => {
    const reader = await api.sibling(admin, ['read:keys'])
    const page = await api.call('GET', '/v1/keys?limit=1', { as: reader })
    expect(page.get('data.0.key')).to.match(/^[A-Z0-9]{4}\*{8}$/)
  })
  for (const [query, path] of [
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['offset=-1', 'offset'],
    ['offset=99999999999', 'offset'],
    ['offset=x', 'offset'],
    ['page=2', 'page'],
  ])
    it(`returns 422 for ${query}`, async () => {
      const refused = await api.call('GET', `/v1/keys?${query}`, { as: admin })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.code')).to.equal('validation_failed')
      expect(refused.get('error.details.0.path')).to.equal(path)
    })
})
