import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { parseWebhookId } from '../../src/api/ids.ts'
import type { EventId } from '../../src/events/ids.ts'
import { webhookStream } from '../../src/events/streams.ts'
import { localUrl, startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('PATCH /v1/webhooks/:id', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const change = async (id: string, body: unknown, headers: Record<string, string> = {}, as: TestClient | { key: string } = admin) =>
    api.call('PATCH', `/v1/webhooks/${id}`, { as, body, headers })

  it('returns 200 without the secret, changes the given fields, keeps the others, and is visible at once', async () => {
    const id = await api.webhook(admin, { description: 'first' })
    const changed = await change(id, { event: 'order.*' })
    expect(changed.status).to.equal(200)
    expect(changed.get('event')).to.equal('order.*')
    expect(changed.get('callback_url')).to.equal(localUrl)
    expect(changed.get('description')).to.equal('first')
    expect(changed.has('secret')).to.equal(false)
    expect(changed.headers.get('etag')).to.equal('"1"')
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: admin })).body).to.deep.equal(changed.body)
  })
  it('returns 200 and can change every field except the id, the times, and the key', async () => {
    const id = await api.webhook(admin)
    const body = { callback_url: 'https://127.0.0.1/other', event: '*', description: 'now', is_active: false, retry_delays: [9] }
    const {
      id: _,
      key_id,
      failing_since,
      created_at,
      updated_at,
      deactivation_reason: reason,
      ...shown
    } = JSON.parse((await change(id, body)).text)
    expect(shown).to.deep.equal(body)
    expect(reason).to.equal('requested')
    const secondChange = await change(id, { is_active: true, retry_delays: null, description: null })
    expect(secondChange.get('is_active')).to.equal('true')
    expect(secondChange.text).to.contain('"deactivation_reason":null').and.contain('"retry_delays":null').and.contain('"description":null')
  })
  it('returns 200 for {} and for equal values, without an event and at the same revision', async () => {
    const id = await api.webhook(admin)
    const before = await api.events()
    for (const body of [{}, { callback_url: localUrl, event: 'order.created', is_active: true, description: null, retry_delays: null }]) {
      const unchanged = await change(id, body)
      expect(unchanged.status).to.equal(200)
      expect(unchanged.headers.get('etag')).to.equal('"0"')
    }
    expect(await api.events()).to.equal(before)
  })
  it('returns 503 for a webhook that a newer version of Kolbak has changed, and for its history; GET of the webhook still works', async () => {
    const id = parseWebhookId(await api.webhook(admin))
    const { events } = await api.deps.streams.read(webhookStream(id))
    const newer = { ...events[0]!, id: randomUUID() as EventId, type: 'WebhookPainted' }
    await api.deps.store.append(webhookStream(id), [newer], 'any')
    const refused = [await change(id, { description: 'x' }), await api.call('GET', `/v1/webhooks/${id}/history`, { as: admin })]
    for (const { status, headers, get } of refused) {
      expect([status, get('error.code'), headers.get('retry-after')]).to.deep.equal([503, 'event_not_readable', '1'])
      expect(get('error.message')).to.contain('newer version').and.to.not.contain('WebhookPainted')
    }
    expect((await api.call('GET', `/v1/webhooks/${id}`, { as: admin })).status).to.equal(200)
  })
  it('returns 200 to the key that created the webhook, and 404 to any other', async () => {
    const [maker, other] = [await api.key(admin), await api.key(admin)]
    const id = await api.webhook(maker)
    expect((await change(id, { description: 'x' }, {}, other)).status).to.equal(404)
    expect((await change(id, { description: 'x' }, {}, maker)).status).to.equal(200)
  })
  it('returns 200 with Projection-Lag when the read model is not up to date in time', async () => {
    const lagging = await startApi({ replace: () => ({ waiter: { waitFor: async () => false } }) })
    try {
      const client = await lagging.tenant()
      const created = await lagging.call('POST', '/v1/webhooks', { as: client, body: { callback_url: localUrl, event: 'a' } })
      lagging.secrets.add(created.get('secret'))
      expect(created.headers.get('projection-lag')).to.equal('webhooks')
      const path = `/v1/webhooks/${created.get('id')}`
      const changed = await lagging.call('PATCH', path, { as: client, body: { event: 'b' } })
      expect(changed.get('event'), 'the response comes from the events, not from the read model').to.equal('b')
      expect(changed.headers.get('projection-lag')).to.equal('webhooks')
      const unchanged = await lagging.call('PATCH', path, { as: client, body: {} })
      expect(unchanged.headers.get('projection-lag'), 'there is no change to wait for').to.equal(null)
    } finally {
      await lagging.stop()
    }
  })
  it('returns 412 when If-Match names another revision, and 200 when it names the present one', async () => {
    const id = await api.webhook(admin)
    expect((await change(id, { event: 'a' }, { 'if-match': '"5"' })).status).to.equal(412)
    expect((await change(id, {}, { 'if-match': '"5"' })).status).to.equal(412)
    expect((await change(id, { event: 'a' }, { 'if-match': '"5", "0"' })).status).to.equal(200)
    expect((await change(id, { event: 'b' }, { 'if-match': '"0"' })).status).to.equal(412)
  })
  it('returns 422 with every faulty field including the URL, and stores nothing', async () => {
    const id = await api.webhook(admin)
    const before = await api.events()
    const refused = await change(id, {
      callback_url: 'https://10.0.0.1/',
      event: null,
      is_active: null,
      secret: `whsec_${'A'.repeat(44)}`,
      retry_delays: [1e9],
    })
    expect(refused.status).to.equal(422)
    const details: { path: string }[] = JSON.parse(refused.text).error.details
    const paths = [...new Set(details.map((detail) => detail.path))].sort()
    expect(paths).to.deep.equal(['callback_url', 'event', 'is_active', 'retry_delays', 'retry_delays.0', 'secret'])
    expect(await api.events()).to.equal(before)
  })
  it('returns 404 for a deleted webhook, an unknown id, and a text that is not an id', async () => {
    const id = await api.webhook(admin)
    await api.call('DELETE', `/v1/webhooks/${id}`, { as: admin })
    for (const missing of [id, '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x']) expect((await change(missing, { event: 'a' })).status).to.equal(404)
  })
})
