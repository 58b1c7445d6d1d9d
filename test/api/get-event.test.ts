import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { dayOf, msPerDay } from '../../src/lib/days.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { route } from '../support/routed.ts'

describe('GET /v1/events/:id', () => {
  let api: TestApi
  let admin: TestClient
  let webhooks: string[]
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
    webhooks = []
    for (let i = 0; i < 6; i++) webhooks.push(await api.webhook(admin))
  })
  after(() => api.stop())
  const post = async (raw: string) => {
    expect((await api.call('POST', '/v1/events', { as: admin, raw })).status).to.equal(202)
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    return produced
  }
  const read = (id: string, as: TestClient = admin) => api.call('GET', `/v1/events/${id}`, { as })

  it('returns 200 with the payload as it was sent, and the counts of the deliveries', async () => {
    const payload = '{ "b" : 1.10,"a":12345678901234567890,"\\ud800":[ ] }'
    const produced = await post(
      `{"id":"seen","event":"order.created","event_time":"2025-03-31T00:42:50+02:00","source":"a \\"source\\"","payload":${payload}}`,
    )
    const deliveries = await route(api, produced, webhooks)
    await deliveries[0]?.record({ type: 'DeliverySucceeded', code: 200 })
    await deliveries[1]?.record({ type: 'DeliveryFailed', code: 500, delay_seconds: 5 })
    await deliveries[2]?.record({ type: 'DeliveryDeadLettered', code: 400 })
    await deliveries[3]?.record({ type: 'DeliveryDiscarded', reason: 'webhook_deleted' })
    await deliveries[4]?.record({ type: 'MessageRouted', attempt: 0 })
    const seen = await read('seen')
    expect(seen.status).to.equal(200)
    expect(seen.text).to.contain(`"payload":${payload}}`)
    const { payload: _, ...data } = JSON.parse(seen.text).data
    const { accepted_at } = produced.record
    expect(data).to.deep.equal({
      id: 'seen',
      event: 'order.created',
      event_time: '2025-03-31T00:42:50+02:00',
      source: 'a "source"',
      status: 'routed',
      deliveries: { total: 6, pending: 2, retrying: 1, success: 1, failed: 1, discarded: 1 },
      has_rejections: false,
      rejections: [],
      payload_reason: null,
      accepted_at,
      expires_at: new Date(Date.parse(accepted_at) + 30 * 86_400_000).toISOString(),
    })
  })
  it('returns 200 with status `unmatched` when no webhook matched', async () => {
    await route(api, await post('{"id":"unwanted","event":"a","payload":{}}'), [])
    const seen = await read('unwanted')
    expect(seen.get('data.status')).to.equal('unmatched')
    expect(seen.get('data.deliveries.total')).to.equal('0')
  })
  it('returns 200 with the rejections of other content under the same id', async () => {
    await route(api, await post('{"id":"rejecting","event":"a","payload":{}}'), [])
    await api.db.pool.query(
      'insert into message_rejections (tenant, message, place, fingerprint, accepted_at) values ($1, $2, $3, $4, $5)',
      [admin.tenant, 'rejecting', 'test/0/99/0', 'f', '2026-03-31T00:00:00.000Z'],
    )
    const seen = await read('rejecting')
    expect(seen.get('data.has_rejections')).to.equal('true')
    expect(JSON.parse(seen.text).data.rejections).to.deep.equal([{ accepted_at: '2026-03-31T00:00:00.000Z', reason: 'content_differs' }])
  })
  it('returns 200 with payload null after it has expired', async () => {
    const produced = await post('{"id":"old","event":"a","payload":{}}')
    await route(api, { ...produced, place: produced.place.replace(/\d+\/0$/, '999999/0') as typeof produced.place }, [])
    const seen = await read('old')
    expect(seen.status).to.equal(200)
    expect(seen.text).to.contain('"payload_reason":"payload_expired","payload":null')
  })
  it('returns 200 after a wait when the message is routed during the request', async () => {
    const waiting = await startApi({ settings: { routingWaitMs: 10_000 } })
    try {
      const client = await waiting.tenant()
      await waiting.call('POST', '/v1/events', { as: client, body: { id: 'soon', event: 'a', payload: {} } })
      const reading = waiting.call('GET', '/v1/events/soon', { as: client })
      const produced = waiting.produced.at(-1)
      if (produced === undefined) throw new Error('nothing was produced')
      await route(waiting, produced, [])
      expect((await reading).status).to.equal(200)
    } finally {
      await waiting.stop()
    }
  })
  it('returns 404 with Retry-After when the message does not exist or is not routed in time', async () => {
    await post('{"id":"unrouted","event":"a","payload":{}}')
    for (const id of ['unrouted', 'never-seen']) {
      const missing = await read(id)
      expect(missing.status).to.equal(404)
      expect(missing.headers.get('retry-after')).to.equal('1')
    }
  })
  it('returns 404 without a wait and without Retry-After when every accepted message is routed', async () => {
    const patient = await startApi({ settings: { routingWaitMs: 60_000 } })
    try {
      const client = await patient.tenant()
      const never = async () => {
        const startedAt = performance.now()
        const { status, headers } = await patient.call('GET', '/v1/events/never-seen', { as: client })
        expect(performance.now() - startedAt).to.be.lessThan(30_000)
        expect(status).to.equal(404)
        expect(headers.get('retry-after')).to.equal(null)
      }
      await never()
      await patient.call('POST', '/v1/events', { as: client, body: { id: 'seen', event: 'a', payload: {} } })
      const reading = never() // this call waits for the message that is on its way
      for (const { place } of patient.produced) {
        const [bus, partition, offset] = place.split('/')
        await patient.db.pool.query('insert into bus_offsets (bus, partition, next_offset) values ($1, $2, $3::bigint + 1)', [
          bus,
          partition,
          offset,
        ])
      }
      await reading
    } finally {
      await patient.stop()
    }
  })
  it('returns 404 that says since when events and deliveries are kept, on each route of one', async () => {
    const later = await startApi({ settings: { routingWaitMs: 0, retentionDays: 7 } })
    try {
      const client = await later.tenant()
      const webhook = await later.webhook(client)
      const [event, delivery] = ['/v1/events/never-seen', `/v1/deliveries/${randomUUID()}`]
      const routes = [
        ...['', '/deliveries', `/explain?webhook=${webhook}`].map((path) => ['GET', event + path] as const),
        ...['', '/timeline', '/request'].map((path) => ['GET', delivery + path] as const),
        ['POST', `${event}/replay`] as const,
        ['POST', `${delivery}/replay`] as const,
        ['DELETE', `${event}/payload`] as const,
      ]
      for (const [method, path] of routes) {
        const firstDay = dayOf(Date.now() - 7 * msPerDay)
        const { status, text } = await later.call(method, path, { as: client })
        expect(status, path).to.equal(404)
        const { retained_since } = JSON.parse(text).error
        expect(
          [firstDay, dayOf(Date.now() - 7 * msPerDay)].map((day) => `${day}T00:00:00.000Z`),
          path,
        ).to.include(retained_since)
      }
      // A webhook does not expire.
      const { text } = await later.call('GET', `/v1/webhooks/${ulid()}`, { as: client })
      expect(JSON.parse(text).error).to.have.all.keys('code', 'message')
    } finally {
      await later.stop()
    }
  })
  it('returns 404 at once for a text that is not an id', async () => {
    for (const id of ['a.b', 'x'.repeat(256), '%00']) {
      const missing = await read(id)
      expect(missing.status).to.equal(404)
      expect(missing.headers.get('retry-after')).to.equal(null)
    }
  })
  it('returns 404 for an event of another tenant, even under the same id', async () => {
    const other = await api.tenant()
    await route(api, await post('{"id":"mine","event":"a","payload":{"of":"admin"}}'), [])
    expect((await read('mine', other)).status).to.equal(404)
    await api.call('POST', '/v1/events', { as: other, body: { id: 'mine', event: 'b', payload: { of: 'other' } } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    await route(api, produced, [])
    expect((await read('mine', other)).get('data.payload.of')).to.equal('other')
    expect((await read('mine')).get('data.payload.of')).to.equal('admin')
  })
})
