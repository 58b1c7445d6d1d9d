import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { type RoutedDelivery, route } from '../support/routed.ts'

describe('GET /v1/webhooks/:id/deliveries', () => {
  let api: TestApi
  let admin: TestClient
  let key: { id: string; key: string }
  let webhook = ''
  const deliveries: RoutedDelivery[] = []
  const times: string[] = []
  before(async () => {
    let time = Date.now() - 10_000
    api = await startApi({ replace: () => ({ now: () => time }) })
    admin = await api.tenant()
    key = await api.key(admin)
    webhook = await api.webhook(key)
    for (let i = 0; i < 5; i++) {
      time += i === 3 ? 0 : 1_000 // Two of them have the same time.
      await api.call('POST', '/v1/events', { as: admin, body: { id: `e${i}`, event: 'order.created', payload: {} } })
      const produced = api.produced.at(-1)
      if (produced === undefined) throw new Error('nothing was produced')
      times.push(produced.record.accepted_at)
      const [delivery] = await route(api, produced, [webhook])
      if (delivery === undefined) throw new Error('nothing was routed')
      deliveries.push(delivery)
      await delivery.record({ type: 'MessageRouted', attempt: 0 })
    }
    time = Date.now()
    await deliveries[0]?.record({ type: 'DeliverySucceeded', code: 204, duration_ms: 2 })
    await deliveries[1]?.record({
      type: 'DeliveryFailed',
      code: null,
      reason: 'timeout',
      duration_ms: 15_000,
      delay_seconds: 5,
      time: times[1]!,
    })
    await deliveries[2]?.record({ type: 'DeliveryDeadLettered', code: 410, reason: 'http_410', duration_ms: 1 })
    await deliveries[3]?.record({ type: 'DeliveryDiscarded', reason: 'webhook_inactive' })
  })
  after(() => api.stop())
  const list = (query = '', as: TestClient | { key: string } = admin) =>
    api.call('GET', `/v1/webhooks/${webhook}/deliveries${query}`, { as })
  const messagesOf = (text: string): string[] => JSON.parse(text).data.map((row: { event_id: string }) => row.event_id)

  it('returns 200 with the newest first, with status, attempts, next attempt and expiry', async () => {
    const page = await list()
    expect(page.status).to.equal(200)
    const { data, pagination } = JSON.parse(page.text)
    expect(pagination).to.deep.equal({ limit: 20, next_cursor: null })
    expect(messagesOf(page.text)[0]).to.equal('e4')
    expect(messagesOf(page.text).slice(3)).to.deep.equal(['e1', 'e0'])
    const [, , , retrying, success] = data
    expect(retrying).to.deep.equal({
      id: deliveries[1]?.id,
      event_id: 'e1',
      webhook_id: webhook,
      event: 'order.created',
      status: 'retrying',
      chain: 1,
      attempt_count: 1,
      next_attempt_at: new Date(Date.parse(times[1]!) + 5_000).toISOString(),
      last_response_code: null,
      last_reason: 'timeout',
      accepted_at: times[1],
      expires_at: new Date(Date.parse(times[1]!) + 30 * 86_400_000).toISOString(),
      attempts: [
        {
          number: 1,
          chain: 1,
          at: times[1],
          status: 'failed',
          response_code: null,
          duration_ms: 15_000,
          reason: 'timeout',
          reason_detail: null,
          response_body: null,
          response_truncated: false,
        },
      ],
    })
    expect(success).to.include({ status: 'success', last_response_code: 204, next_attempt_at: null })
  })
  it('returns 200 with pages that contain each delivery once, even if a page ends between two deliveries of the same time', async () => {
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const page = await list(`?limit=1${cursor}`)
      seen.push(...messagesOf(page.text))
      const next: string | null = JSON.parse(page.text).pagination.next_cursor
      if (next === null) break
      cursor = `&cursor=${next}`
    }
    expect(seen).to.deep.equal(messagesOf((await list()).text))
    expect(new Set(seen).size).to.equal(5)
  })
  for (const [status, messages] of [
    ['success', ['e0']],
    ['retrying', ['e1']],
    ['failed', ['e2']],
    ['discarded', ['e3']],
    ['pending', ['e4']],
  ] as const)
    it(`returns 200 filtered by status ${status}`, async () => {
      expect(messagesOf((await list(`?status=${status}`)).text)).to.deep.equal(messages)
    })
  it('returns 200 filtered by the time of acceptance, from `since` (inclusive) to `until` (exclusive)', async () => {
    const [, second, third] = times
    expect(messagesOf((await list(`?since=${second}&until=${third}`)).text)).to.deep.equal(['e1'])
    const elsewhere = encodeURIComponent(new Date(Date.parse(second!) + 7_200_000).toISOString().replace('Z', '+02:00'))
    expect(messagesOf((await list(`?since=${elsewhere}&until=${third}`)).text), 'by another offset').to.deep.equal(['e1'])
  })
  it('returns 200 to the key that created the webhook, and 404 to any other key or tenant', async () => {
    expect(messagesOf((await list('', key)).text).length).to.equal(5)
    expect((await list('', await api.key(admin))).status).to.equal(404)
    expect((await list('', await api.tenant())).status).to.equal(404)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x'])
      expect((await api.call('GET', `/v1/webhooks/${id}/deliveries`, { as: admin })).status).to.equal(404)
  })
  it('returns 422 for invalid values and for a cursor that no page returned', async () => {
    for (const [query, path] of [
      ['status=done', 'status'],
      ['since=yesterday', 'since'],
      ['until=2025-02-30T00:00:00Z', 'until'],
      ['limit=101', 'limit'],
      ['offset=1', 'offset'],
    ])
      expect((await list(`?${query}`)).get('error.details.0.path')).to.equal(path)
    const refused = await list('?cursor=abc')
    expect(refused.status).to.equal(422)
    expect(refused.get('error.code')).to.equal('invalid_cursor')
  })
})
