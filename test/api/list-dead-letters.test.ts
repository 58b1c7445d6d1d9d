import { expect } from 'chai'
import { type Owners, startApi, type TestApi, type TestClient } from '../support/api.ts'
import { type RoutedDelivery, route } from '../support/routed.ts'

describe('GET /v1/dead-letters', () => {
  let api: TestApi
  let admin: TestClient
  let key: Owners['key']
  let keyWebhook = ''
  let clientWebhook = ''
  const deliveries: RoutedDelivery[] = []
  const failedAt = (i: number) => new Date(Date.UTC(2026, 10, 24, 8, 0, i)).toISOString()
  before(async () => {
    api = await startApi()
    ;({ admin, key, keyWebhook, clientWebhook } = await api.owners())
    for (let i = 0; i < 6; i++) {
      await api.call('POST', '/v1/events', { as: admin, body: { id: `e${i}`, event: 'order.created', payload: {} } })
      const produced = api.produced.at(-1)
      if (produced === undefined) throw new Error('nothing was produced')
      const [delivery] = await route(api, produced, [i % 2 === 0 ? keyWebhook : clientWebhook])
      if (delivery === undefined) throw new Error('nothing was routed')
      deliveries.push(delivery)
      // They fail in the reverse order of their acceptance.
      await delivery.record({
        type: i === 5 ? 'DeliverySucceeded' : 'DeliveryDeadLettered',
        code: 500,
        duration_ms: 1,
        time: failedAt(9 - i),
      })
    }
  })
  after(() => api.stop())
  const list = async (query = '', as: TestClient | { key: string } = admin) => {
    const page = await api.call('GET', `/v1/dead-letters${query}`, { as })
    expect(page.status, page.text).to.equal(200)
    const { data, pagination } = JSON.parse(page.text)
    return {
      ids: data.map((row: { event_id: string }) => row.event_id) as string[],
      next: pagination.next_cursor as string | null,
      data,
    }
  }

  it('returns 200 with deliveries that ended in failure, the latest failure first', async () => {
    const { ids, data } = await list()
    expect(ids).to.deep.equal(['e0', 'e1', 'e2', 'e3', 'e4'])
    expect(data[0]).to.include({ status: 'failed', last_response_code: 500 })
    expect(data[0].attempts.length).to.equal(1)
  })
  it('returns 200 with pages that contain each delivery once', async () => {
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const { ids, next } = await list(`?limit=2${cursor}`)
      seen.push(...ids)
      if (next === null) break
      cursor = `&cursor=${next}`
    }
    expect(seen).to.deep.equal(['e0', 'e1', 'e2', 'e3', 'e4'])
  })
  it('returns 200 with the dead letters of one webhook, or of a range of failure times', async () => {
    expect((await list(`?webhook=${keyWebhook}`)).ids).to.deep.equal(['e0', 'e2', 'e4'])
    expect((await list(`?since=${failedAt(8)}`)).ids).to.deep.equal(['e0', 'e1'])
    expect((await list(`?since=${failedAt(6)}&until=${failedAt(8)}`)).ids).to.deep.equal(['e2', 'e3'])
    expect((await list('?webhook=01ARZ3NDEKTSV4RRFFQ69G5FAV')).ids).to.deep.equal([])
  })
  it('returns 200 with the dead letters of an event name, a reason or a status code', async () => {
    expect((await list('?event=order.created&code=500')).ids).to.have.length(5)
    for (const filter of ['event=order.paid', 'code=503', 'reason=timeout']) expect((await list(`?${filter}`)).ids).to.deep.equal([])
  })
  it('returns 200 to a key with the dead letters of its own webhooks only, and never with those of another tenant', async () => {
    expect((await list('', key)).ids).to.deep.equal(['e0', 'e2', 'e4'])
    expect((await list(`?webhook=${clientWebhook}`, key)).ids).to.deep.equal([])
    expect((await list('', await api.key(admin))).ids).to.deep.equal([])
    expect((await list(`?webhook=${keyWebhook}`, await api.tenant())).ids).to.deep.equal([])
  })
  it('returns 200 without a dead letter that was replayed', async () => {
    await deliveries[3]?.record({ type: 'DeliveryReplayed', chain: 2, attempt: 0 })
    expect((await list()).ids).to.deep.equal(['e0', 'e1', 'e2', 'e4'])
  })
  it('returns 422 for invalid values and for a cursor that no page returned', async () => {
    for (const [query, path] of [
      ['webhook=x', 'webhook'],
      ['since=x', 'since'],
      ['until=x', 'until'],
      ['code=99', 'code'],
      ['reason=A', 'reason'],
      ['status=failed', 'status'],
      ['limit=0', 'limit'],
    ]) {
      const refused = await api.call('GET', `/v1/dead-letters?${query}`, { as: admin })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.details.0.path')).to.equal(path)
    }
    const refused = await api.call('GET', '/v1/dead-letters?cursor=e30', { as: admin })
    expect([refused.status, refused.get('error.code')]).to.deep.equal([422, 'invalid_cursor'])
  })
})
