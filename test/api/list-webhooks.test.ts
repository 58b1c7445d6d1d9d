import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('GET /v1/webhooks', () => {
  let api: TestApi
  let admin: TestClient
  let key: { id: string; key: string }
  let a = ''
  let b = ''
  let c = ''
  let d = ''
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
    key = await api.key(admin)
    a = await api.webhook(admin, { event: 'order.created' })
    b = await api.webhook(admin, { event: 'order.*', is_active: false })
    c = await api.webhook(key, { event: '*' })
    d = await api.webhook(key, { event: 'order.created' })
  })
  after(() => api.stop())
  const list = async (query: string, as: TestClient | { key: string } = admin) => {
    const page = await api.call('GET', `/v1/webhooks${query}`, { as })
    expect(page.status, page.text).to.equal(200)
    const { data, pagination }: { data: { id: string }[]; pagination: object } = JSON.parse(page.text)
    return { ids: data.map((row) => row.id), pagination, text: page.text }
  }

  it('returns 200 with the newest first in the envelope, without secrets', async () => {
    const page = await list('')
    expect(page.ids).to.deep.equal([d, c, b, a])
    expect(page.pagination).to.deep.equal({ limit: 20, offset: 0, total: 4 })
    expect(page.text).to.not.contain('whsec_')
  })
  it('returns 200 with pages by limit and offset', async () => {
    expect((await list('?limit=2&offset=1')).ids).to.deep.equal([c, b])
    expect((await list('?limit=100&offset=4')).pagination).to.deep.equal({ limit: 100, offset: 4, total: 4 })
  })
  it('returns 200 filtered by ids that are repeated, in brackets, with commas, or mixed', async () => {
    for (const query of [
      `?ids=${a}&ids=${c}`,
      `?ids[]=${a}&ids[]=${c}`,
      `?ids=${a},${c}`,
      `?ids=${a}&ids[]=${c}`,
      `?ids%5B%5D=${a}%2C${c}`,
    ])
      expect((await list(query)).ids, query).to.deep.equal([c, a])
    expect((await list('?ids=01ARZ3NDEKTSV4RRFFQ69G5FAV')).ids).to.deep.equal([])
  })
  it('returns 200 filtered by the stored patterns', async () => {
    expect((await list('?events=order.created')).ids).to.deep.equal([d, a])
    expect((await list('?events=order.*')).ids).to.deep.equal([b])
    expect((await list('?events=*,order.*')).ids).to.deep.equal([c, b])
  })
  it('returns 200 filtered by is_active', async () => {
    expect((await list('?is_active=true')).ids).to.deep.equal([d, c, a])
    expect((await list('?is_active=false')).ids).to.deep.equal([b])
  })
  it('returns 200 filtered by the creating key, and by all filters at once', async () => {
    expect((await list(`?key_id=${key.id}`)).ids).to.deep.equal([d, c])
    expect((await list(`?key_id=${key.id}&events=order.created&is_active=true&ids=${a},${d}&limit=1`)).ids).to.deep.equal([d])
  })
  it('returns 200 to a key with only its own webhooks, for any filter', async () => {
    expect((await list('', key)).ids).to.deep.equal([d, c])
    expect((await list(`?ids=${a},${d}`, key)).ids).to.deep.equal([d])
    expect((await list(`?key_id=${key.id}`, key)).ids).to.deep.equal([d, c])
    const other = await api.key(admin)
    expect((await list(`?key_id=${other.id}`, key)).ids).to.deep.equal([])
    expect((await list(`?key_id=${key.id}`, other)).ids).to.deep.equal([])
  })
  it('returns 200 without webhooks of another tenant', async () => {
    const other = await api.tenant()
    expect((await list(`?ids=${a}`, other)).ids).to.deep.equal([])
    expect((await list(`?key_id=${key.id}`, other)).ids).to.deep.equal([])
  })
  for (const [query, path] of [
    ['ids=x', 'ids.0'],
    ['ids=', 'ids.0'],
    [`ids=${Array.from({ length: 101 }, () => '01ARZ3NDEKTSV4RRFFQ69G5FAV').join(',')}`, 'ids'],
    ['events=a%20b', 'events.0'],
    ['events=order.created,', 'events.1'],
    ['is_active=yes', 'is_active'],
    ['is_active=', 'is_active'],
    ['is_active=true&is_active=false', 'is_active'],
    ['key_id=x', 'key_id'],
    ['limit=101', 'limit'],
    ['offset=-1', 'offset'],
    ['is_activ=true', 'is_activ'],
    ['limit[]=1', 'limit[]'],
  ] as const)
    it(`returns 422 for ${query.slice(0, 40)}`, async () => {
      const refused = await api.call('GET', `/v1/webhooks?${query}`, { as: admin })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.details.0.path')).to.equal(path)
    })
})
