import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { type RoutedDelivery, route } from '../support/routed.ts'

describe('GET /v1/deliveries/:id', () => {
  let api: TestApi
  let admin: TestClient
  let key: { id: string; key: string }
  let delivery: RoutedDelivery
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
    key = await api.key(admin)
    await api.call('POST', '/v1/events', { as: admin, body: { id: 'e', event: 'order.created', payload: {} } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    const [first] = await route(api, produced, [await api.webhook(key)])
    if (first === undefined) throw new Error('nothing was routed')
    delivery = first
    const time = (second: number) => `2026-11-24T08:00:0${second}.000Z`
    await delivery.record(
      {
        type: 'DeliveryFailed',
        attempt: 1,
        code: 500,
        duration_ms: 12,
        reason: 'http_500',
        response: Buffer.from('broken \u0000 and \xff', 'latin1'),
        delay_seconds: 5,
        time: time(1),
      },
      {
        type: 'DeliveryFailed',
        attempt: 2,
        code: 502,
        duration_ms: 4,
        reason: 'http_502',
        response: Buffer.alloc(4_096, 'x'),
        delay_seconds: 5,
        time: time(2),
      },
      {
        type: 'DeliveryDeadLettered',
        attempt: 3,
        code: null,
        duration_ms: 0,
        reason: 'dns_failed',
        reason_detail: 'The name of the host does not resolve.',
        time: time(3),
      },
      { type: 'DeliveryReplayed', chain: 2, attempt: 0, time: time(4) },
      { type: 'DeliverySucceeded', chain: 2, attempt: 1, code: 200, duration_ms: 9, response: Buffer.from('ü'), time: time(5) },
    )
  })
  after(() => api.stop())
  const read = (id: string = delivery.id, as: TestClient | { key: string } = admin) => api.call('GET', `/v1/deliveries/${id}`, { as })

  it('returns 200 with the status and every attempt of all chains, oldest first', async () => {
    const seen = await read()
    expect(seen.status).to.equal(200)
    const { data } = JSON.parse(seen.text)
    expect(data).to.include({ id: delivery.id, event_id: 'e', status: 'success', chain: 2, attempt_count: 1, last_response_code: 200 })
    expect(data.attempts.map((a: { chain: number; number: number; status: string }) => [a.chain, a.number, a.status])).to.deep.equal([
      [1, 1, 'failed'],
      [1, 2, 'failed'],
      [1, 3, 'failed'],
      [2, 1, 'success'],
    ])
    const [first, second, third, fourth] = data.attempts
    expect(first).to.deep.equal({
      number: 1,
      chain: 1,
      at: '2026-11-24T08:00:01.000Z',
      status: 'failed',
      response_code: 500,
      duration_ms: 12,
      reason: 'http_500',
      reason_detail: null,
      response_body: 'broken \u0000 and \ufffd',
      response_truncated: false,
    })
    expect(second.response_truncated).to.equal(true)
    expect(second.response_body.length).to.equal(4_096)
    expect(third).to.include({ response_code: null, reason: 'dns_failed', response_body: null })
    expect(third.reason_detail).to.equal('The name of the host does not resolve.')
    expect(fourth.response_body).to.equal('ü')
  })
  it('returns 200 with all other fields when a stored response cannot be opened, and logs the error', async () => {
    await api.db.pool.query(`update deliveries set response = 'sealed:AAAA' where delivery = $1`, [delivery.id])
    const seen = await read()
    expect(seen.status).to.equal(200)
    expect(JSON.parse(seen.text).data.attempts.map((a: { response_body: string | null }) => a.response_body === null)).to.deep.equal([
      false,
      false,
      true,
      true,
    ])
    expect(api.log.lines.some((line) => line.includes('attempt.response_unreadable'))).to.equal(true)
  })
  it('returns 200 to the key that created the webhook, and 404 to any other key or tenant', async () => {
    expect((await read(delivery.id, key)).status).to.equal(200)
    expect((await read(delivery.id, await api.key(admin))).status).to.equal(404)
    expect((await read(delivery.id, await api.tenant())).status).to.equal(404)
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['0195d3a1-7a4b-5c6d-8e9f-001122334455', 'x', delivery.id.toUpperCase(), `${delivery.id}0`])
      expect((await read(id)).status).to.equal(404)
  })
})
