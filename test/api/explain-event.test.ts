import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { route } from '../support/routed.ts'

describe('GET /v1/events/:id/explain', () => {
  let api: TestApi
  let auditor: TestClient
  let next = 0
  before(async () => {
    api = await startApi()
    auditor = await api.tenant()
  })
  after(() => api.stop())
  /** Posts and routes an event to the webhooks given, as a dispatcher would. */
  const routed = async (event: string, webhooks: readonly string[]) => {
    const id = `evt_${++next}`
    await api.call('POST', '/v1/events', { as: auditor, body: { id, event, payload: {} } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    return { id, deliveries: await route(api, produced, webhooks) }
  }
  const explain = (id: string, webhook: string, as = auditor) => api.call('GET', `/v1/events/${id}/explain?webhook=${webhook}`, { as })

  it('200 tells of a delivery: that it matched, each attempt, and what comes next', async () => {
    const webhook = await api.webhook(auditor, { event: 'order.*' })
    const { id, deliveries } = await routed('order.created', [webhook])
    expect((await explain(id, webhook)).get('data.next')).to.match(/as soon as there is a slot/)
    await deliveries[0]?.record({ type: 'DeliveryFailed', code: 503, duration_ms: 3, reason: 'http_503', delay_seconds: 60 })
    const answer = await explain(id, webhook)
    expect(answer.status).to.equal(200)
    const { data } = answer.body as { data: Record<string, unknown> & { delivery: { status: string; attempts: unknown[] } } }
    expect(data).to.include({ event_id: id, webhook_id: webhook, matched: true, reason: 'matched' })
    expect(data.webhook_then).to.deep.include({ revision: 0, event: 'order.*', is_active: true })
    expect(data.delivery.status).to.equal('retrying')
    expect(data.delivery.attempts).to.have.length(1)
    expect(data.next).to.match(/next attempt, at about 20/)
  })
  it('200 tells that the pattern did not take the event, by the pattern of then', async () => {
    const webhook = await api.webhook(auditor, { event: 'invoice.*' })
    const { id } = await routed('order.created', [])
    await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: auditor, body: { event: 'order.*' } })
    const answer = await explain(id, webhook)
    expect(answer.get('data.reason')).to.equal('pattern')
    expect(answer.get('data.explanation')).to.equal('The pattern of the webhook was invoice.*, which does not match order.created.')
    expect(answer.text).to.include('"delivery":null')
  })
  it('200 tells that the webhook was inactive, deleted, or not there yet', async () => {
    const [inactive, deleted] = [await api.webhook(auditor, { event: '*' }), await api.webhook(auditor, { event: '*' })]
    await api.call('PATCH', `/v1/webhooks/${inactive}`, { as: auditor, body: { is_active: false } })
    await api.call('DELETE', `/v1/webhooks/${deleted}`, { as: auditor })
    const { id } = await routed('order.created', [])
    const later = await api.webhook(auditor, { event: '*' })
    await api.call('PATCH', `/v1/webhooks/${inactive}`, { as: auditor, body: { is_active: true } })
    expect((await explain(id, inactive)).get('data.reason')).to.equal('inactive')
    expect((await explain(id, deleted)).get('data.reason')).to.equal('deleted')
    const answer = await explain(id, later)
    expect(answer.get('data.reason')).to.equal('created_later')
    expect(answer.text).to.include('"webhook_then":null')
  })
  it('200 tells how each end came about', async () => {
    const webhook = await api.webhook(auditor, { event: 'order.*' })
    for (const [type, next_] of [
      ['DeliverySucceeded', /the event was delivered/],
      ['DeliveryDeadLettered', /dead letter/],
      ['DeliveryDiscarded', /inactive or deleted/],
    ] as const) {
      const { id, deliveries } = await routed('order.created', [webhook])
      await deliveries[0]?.record({ type, code: null, reason: null })
      expect((await explain(id, webhook)).get('data.next')).to.match(next_)
    }
  })
  it('200 tells that a test is for one webhook alone, whatever it or others want', async () => {
    const [tested, other] = [await api.webhook(auditor, { event: 'order.*' }), await api.webhook(auditor, { event: 'kolbak.*' })]
    const id = (await api.call('POST', `/v1/webhooks/${tested}/test`, { as: auditor })).get('data.id')
    await route(api, api.produced.at(-1)!, [tested])
    expect((await explain(id, tested)).get('data.reason')).to.equal('test')
    expect((await explain(id, other)).get('data.reason')).to.equal('test_of_another')
  })
  it("403 without read:audit; 404 for another tenant's event or webhook; 422 without a webhook", async () => {
    const webhook = await api.webhook(auditor, { event: 'order.*' })
    const { id } = await routed('order.created', [webhook])
    const stranger = await api.tenant()
    const foreign = await api.webhook(stranger)
    expect((await explain(id, webhook, await api.sibling(auditor, ['read:events', 'read:webhooks']))).status).to.equal(403)
    expect((await explain(id, foreign)).status).to.equal(404)
    expect((await explain(id, '01ARZ3NDEKTSV4RRFFQ69G5FAV')).status).to.equal(404)
    expect((await api.call('GET', `/v1/events/${id}/explain`, { as: auditor })).status).to.equal(422)
  })
})
