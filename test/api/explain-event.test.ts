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
  /** Posts an event and routes it to the webhooks, as a dispatcher would. */
  const routed = async (event: string, webhooks: readonly string[]) => {
    const id = `evt_${++next}`
    await api.call('POST', '/v1/events', { as: auditor, body: { id, event, payload: {} } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    return { id, deliveries: await route(api, produced, webhooks) }
  }
  const explain = (id: string, webhook: string, as = auditor) => api.call('GET', `/v1/events/${id}/explain?webhook=${webhook}`, { as })

  it('returns 200 with the matched pattern, each attempt, and the next step', async () => {
    const webhook = await api.webhook(auditor, { event: 'order.*' })
    const { id, deliveries } = await routed('order.created', [webhook])
    expect((await explain(id, webhook)).get('data.next')).to.match(/as soon as there is a slot/)
    await deliveries[0]?.record({ type: 'DeliveryFailed', code: 503, duration_ms: 3, reason: 'http_503', delay_seconds: 60 })
    const response = await explain(id, webhook)
    expect(response.status).to.equal(200)
    const { data } = response.body as { data: Record<string, unknown> & { delivery: { status: string; attempts: unknown[] } } }
    expect(data).to.include({ event_id: id, webhook_id: webhook, matched: true, reason: 'matched' })
    expect(data.webhook_then).to.deep.include({ revision: 0, event: 'order.*', is_active: true })
    expect(data.delivery.status).to.equal('retrying')
    expect(data.delivery.attempts).to.have.length(1)
    expect(data.next).to.match(/next attempt, at about 20/)
  })
  it('returns 200 with reason `pattern` by the pattern at the time of matching, not by the present one', async () => {
    const webhook = await api.webhook(auditor, { event: 'invoice.*' })
    const { id } = await routed('order.created', [])
    await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: auditor, body: { event: 'order.*' } })
    const response = await explain(id, webhook)
    expect(response.get('data.reason')).to.equal('pattern')
    expect(response.get('data.explanation')).to.equal('The pattern of the webhook was invoice.*, which does not match order.created.')
    expect(response.text).to.include('"delivery":null')
  })
  it('returns 200 with the reasons `inactive`, `deleted` and `created_later`', async () => {
    const [inactive, deleted] = [await api.webhook(auditor, { event: '*' }), await api.webhook(auditor, { event: '*' })]
    await api.call('PATCH', `/v1/webhooks/${inactive}`, { as: auditor, body: { is_active: false } })
    await api.call('DELETE', `/v1/webhooks/${deleted}`, { as: auditor })
    const { id } = await routed('order.created', [])
    const later = await api.webhook(auditor, { event: '*' })
    await api.call('PATCH', `/v1/webhooks/${inactive}`, { as: auditor, body: { is_active: true } })
    expect((await explain(id, inactive)).get('data.reason')).to.equal('inactive')
    expect((await explain(id, deleted)).get('data.reason')).to.equal('deleted')
    const response = await explain(id, later)
    expect(response.get('data.reason')).to.equal('created_later')
    expect(response.text).to.include('"webhook_then":null')
  })
  it('returns 200 with a sentence for each final status', async () => {
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
  it('returns 200 with the reasons `test` and `test_of_another` for any pattern', async () => {
    const [tested, other] = [await api.webhook(auditor, { event: 'order.*' }), await api.webhook(auditor, { event: 'kolbak.*' })]
    const id = (await api.call('POST', `/v1/webhooks/${tested}/test`, { as: auditor })).get('data.id')
    await route(api, api.produced.at(-1)!, [tested])
    expect((await explain(id, tested)).get('data.reason')).to.equal('test')
    expect((await explain(id, other)).get('data.reason')).to.equal('test_of_another')
  })
  it('returns 403 without read:audit, 404 for an event or webhook of another tenant, and 422 without a webhook', async () => {
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
