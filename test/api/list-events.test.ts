import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { route } from '../support/routed.ts'

interface Listed {
  id: string
  status: string
  deliveries: Record<string, number> | null
  accepted_at: string
}

describe('GET /v1/events', () => {
  let api: TestApi
  let admin: TestClient
  let webhooks: string[]
  let times: string[]
  /** The ids of the events, newest first. */
  const ids = ['e5', 'e4', 'e3', 'e2', 'e1']
  let clock = Date.parse('2026-03-31T00:00:00.000Z')

  before(async () => {
    api = await startApi({ replace: () => ({ now: () => clock }) })
    admin = await api.tenant()
    webhooks = [await api.webhook(admin), await api.webhook(admin)]
    times = []
    for (const id of [...ids].reverse()) {
      clock += 1_000
      await api.call('POST', '/v1/events', { as: admin, body: { id, event: id === 'e2' ? 'order.paid' : 'order.created', payload: {} } })
      const produced = api.produced.at(-1)
      if (produced === undefined) throw new Error('nothing was produced')
      const deliveries = await route(api, produced, id === 'e3' ? [] : webhooks)
      await deliveries[0]?.record({ type: 'DeliverySucceeded', code: 200 })
      times.unshift(produced.record.accepted_at)
    }
  })
  after(() => api.stop())
  const list = (query = '', as: TestClient = admin) => api.call('GET', `/v1/events${query}`, { as })
  const idsOf = (response: Awaited<ReturnType<typeof list>>) => (response.body as { data: Listed[] }).data.map((event) => event.id)

  it('returns 200 with the newest first, each with its status and the counts of its deliveries', async () => {
    const response = await list()
    expect(idsOf(response)).to.deep.equal(ids)
    const { data, pagination } = response.body as { data: Listed[]; pagination: unknown }
    expect(pagination).to.deep.equal({ limit: 20, next_cursor: null })
    expect(data[0]).to.deep.equal({
      id: 'e5',
      event: 'order.created',
      status: 'routed',
      deliveries: { total: 2, pending: 1, retrying: 0, success: 1, failed: 0, discarded: 0 },
      has_rejections: false,
      accepted_at: times[0],
      expires_at: new Date(Date.parse(times[0] ?? '') + 30 * 86_400_000).toISOString(),
    })
    expect(data[2]).to.include({ id: 'e3', status: 'unmatched' })
    expect(data[2]?.deliveries).to.include({ total: 0, pending: 0 })
  })
  it('returns 200 with a mark on events under whose ids other content was posted', async () => {
    await api.db.pool.query(
      "insert into message_rejections (tenant, message, place, fingerprint, accepted_at) values ($1, 'e4', 'elsewhere', 'f', now())",
      [admin.tenant],
    )
    const { data } = (await list()).body as { data: (Listed & { has_rejections: boolean })[] }
    expect(data.filter((event) => event.has_rejections).map(({ id }) => id)).to.deep.equal(['e4'])
  })
  it('returns 200 with pages that contain each event once, even while newer events arrive', async () => {
    const seen: string[] = []
    let cursor: string | null = ''
    for (let pages = 0; cursor !== null; pages++) {
      expect(pages).to.be.lessThan(4)
      const response = await list(`?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      seen.push(...idsOf(response))
      cursor = (response.body as { pagination: { next_cursor: string | null } }).pagination.next_cursor
      if (pages === 0) {
        await api.call('POST', '/v1/events', { as: admin, body: { id: 'newer', event: 'other', payload: {} } })
        await route(api, api.produced.at(-1)!, [])
      }
    }
    expect(seen).to.deep.equal(ids)
  })
  it('returns 200 with events accepted at or after since, and before until', async () => {
    expect(idsOf(await list(`?since=${times[3]}&until=${times[1]}`))).to.deep.equal(['e3', 'e2'])
    const offset = encodeURIComponent(times[3]!.replace('T00', 'T02').replace('Z', '+02:00'))
    expect(idsOf(await list(`?since=${offset}&until=${times[1]}`))).to.deep.equal(['e3', 'e2'])
  })
  it('returns 200 filtered by name and by status', async () => {
    expect(idsOf(await list('?event=order.paid'))).to.deep.equal(['e2'])
    expect(idsOf(await list('?event=order.*'))).to.deep.equal([])
    expect(idsOf(await list(`?status=unmatched&until=${times[0]}`))).to.deep.equal(['e3'])
    expect(idsOf(await list('?status=routed&event=order.created&limit=2'))).to.deep.equal(['e5', 'e4'])
  })
  it('returns 200 without counts for an event with many deliveries', async () => {
    await api.call('POST', '/v1/events', { as: admin, body: { id: 'many', event: 'many', payload: {} } })
    await route(
      api,
      api.produced.at(-1)!,
      Array.from({ length: 101 }, (_, i) => String(i).padStart(26, '0')),
    )
    const response = await list('?event=many')
    expect((response.body as { data: Listed[] }).data[0]).to.deep.include({ id: 'many', status: 'routed', deliveries: null })
    expect((await api.call('GET', '/v1/events/many', { as: admin })).get('data.deliveries.total')).to.equal('101')
  })
  it("returns 200 without events of another tenant, even with that tenant's cursor", async () => {
    const other = await api.tenant()
    expect(idsOf(await list('', other))).to.deep.equal([])
    const cursor = (await list('?limit=1')).get('pagination.next_cursor')
    expect(idsOf(await list(`?cursor=${cursor}`, other))).to.deep.equal([])
  })
  it('returns 422 for an invalid time, status, limit or cursor', async () => {
    for (const [query, code] of [
      ['?since=yesterday', 'validation_failed'],
      ['?until=2026-03-31', 'validation_failed'],
      ['?status=failed', 'validation_failed'],
      ['?event=%00', 'validation_failed'],
      ['?limit=0', 'validation_failed'],
      ['?limit=101', 'validation_failed'],
      ['?offset=1', 'validation_failed'],
      [`?since=${encodeURIComponent('0001-01-01T00:03:10+20:58')}`, 'validation_failed'],
      ['?cursor=x', 'invalid_cursor'],
      [`?cursor=${Buffer.from('["0000-06-01T00:00:00.000Z","a"]').toString('base64url')}`, 'invalid_cursor'],
      [`?cursor=${Buffer.from('["2026-03-31T00:00:00.000Z","a.b"]').toString('base64url')}`, 'invalid_cursor'],
    ] as const) {
      const refused = await list(query)
      expect([refused.status, refused.get('error.code')], query).to.deep.equal([422, code])
    }
  })
})
