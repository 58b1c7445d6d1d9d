import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { type RoutedDelivery, route } from '../support/routed.ts'

describe('GET /v1/events/:id/deliveries', () => {
  let api: TestApi
  let admin: TestClient
  let deliveries: RoutedDelivery[]
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
    const webhooks: string[] = []
    for (let i = 0; i < 5; i++) webhooks.push(await api.webhook(admin))
    await api.call('POST', '/v1/events', { as: admin, body: { id: 'e', event: 'order.created', payload: {} } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    deliveries = await route(api, produced, webhooks)
    await deliveries[0]?.record(
      { type: 'DeliveryFailed', attempt: 1, code: 500, duration_ms: 7, reason: 'http_500', response: Buffer.from('oh'), delay_seconds: 5 },
      { type: 'DeliverySucceeded', attempt: 2, code: 200, duration_ms: 3 },
    )
  })
  after(() => api.stop())
  const list = (query = '', as: TestClient = admin) => api.call('GET', `/v1/events/e/deliveries${query}`, { as })

  it('returns 200 with all deliveries, the newest webhook first; one that is not in the history yet is pending', async () => {
    const page = await list()
    expect(page.status).to.equal(200)
    const { data, pagination } = JSON.parse(page.text)
    expect(data.map((row: { id: string }) => row.id)).to.deep.equal(deliveries.map((delivery) => delivery.id).reverse())
    expect(data.map((row: { status: string }) => row.status)).to.deep.equal(['pending', 'pending', 'pending', 'pending', 'success'])
    expect(data[4].attempts.map((attempt: { status: string }) => attempt.status)).to.deep.equal(['failed', 'success'])
    expect(data[0]).to.include({ event_id: 'e', event: 'order.created', attempt_count: 0, chain: 1, next_attempt_at: null })
    expect(pagination).to.deep.equal({ limit: 20, next_cursor: null })
  })
  it('returns 200 with pages that contain each delivery once', async () => {
    const seen: string[] = []
    let cursor = ''
    for (let pages = 1; ; pages++) {
      const page = JSON.parse((await list(`?limit=2${cursor}`)).text)
      seen.push(...page.data.map((row: { id: string }) => row.id))
      if (page.pagination.next_cursor === null) {
        expect(pages).to.equal(3)
        break
      }
      cursor = `&cursor=${page.pagination.next_cursor}`
    }
    expect(seen).to.deep.equal(deliveries.map((delivery) => delivery.id).reverse())
  })
  it('returns 200 without a next page when the last page is full', async () => {
    expect(JSON.parse((await list('?limit=5')).text).pagination).to.deep.equal({ limit: 5, next_cursor: null })
  })
  it('returns 404 with Retry-After for an event that is not routed, and for another tenant', async () => {
    expect((await list('', await api.tenant())).status).to.equal(404)
    const missing = await api.call('GET', '/v1/events/missing/deliveries', { as: admin })
    expect(missing.status).to.equal(404)
    expect(missing.headers.get('retry-after')).to.equal('1')
  })
  it('returns 422 invalid_cursor, and 422 for invalid values', async () => {
    expect((await list('?cursor=abc')).get('error.code')).to.equal('invalid_cursor')
    for (const query of ['?limit=0', '?offset=1', '?cursor=']) expect((await list(query)).status).to.equal(422)
  })
})
