import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { type RoutedDelivery, route } from '../support/routed.ts'

interface Replayed {
  id: string
  webhook_id: string
  status: string
  chain: number
}

describe('POST /v1/events/:id/replay', () => {
  let api: TestApi
  let admin: TestClient
  let events = 0
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  const replay = (id: string, body?: object, as: TestClient = admin) =>
    api.call('POST', `/v1/events/${id}/replay`, { as, ...(body === undefined ? {} : { body }) })
  const dataOf = (response: Awaited<ReturnType<typeof replay>>) => (response.body as { data: Replayed[] }).data
  const sent = async (webhooks: readonly string[]): Promise<{ id: string; deliveries: RoutedDelivery[] }> => {
    const id = `event-${++events}`
    await api.call('POST', '/v1/events', { as: admin, body: { id, event: 'order.created', payload: {} } })
    const deliveries = await route(api, api.produced.at(-1)!, webhooks)
    for (const delivery of deliveries) await delivery.record({ type: 'DeliveryDeadLettered', code: 400 })
    return { id, deliveries }
  }
  const scheduled = async (deliveries: readonly RoutedDelivery[]) =>
    (
      await api.db.pool.query<{ delivery: string; chain: number }>(
        'select delivery, chain from scheduled_deliveries where delivery = any ($1) order by delivery',
        [deliveries.map((delivery) => delivery.id)],
      )
    ).rows

  it('returns 202 and replays all deliveries: they are in the next chain and due now', async () => {
    const webhooks = [await api.webhook(admin), await api.webhook(admin)]
    const { id, deliveries } = await sent(webhooks)
    const response = await replay(id)
    expect(response.status).to.equal(202)
    expect(
      dataOf(response)
        .map(({ id: delivery, webhook_id, status, chain }) => [delivery, webhook_id, status, chain])
        .sort(),
    ).to.deep.equal(deliveries.map((delivery) => [delivery.id, delivery.webhook, 'pending', 2]).sort())
    expect(await scheduled(deliveries)).to.deep.equal(
      deliveries.map((delivery) => ({ delivery: delivery.id, chain: 2 })).sort((a, b) => (a.delivery < b.delivery ? -1 : 1)),
    )
  })
  it('returns 202 and replays only the delivery to the requested webhook', async () => {
    const webhooks = [await api.webhook(admin), await api.webhook(admin)]
    const { id, deliveries } = await sent(webhooks)
    const response = await replay(id, { webhook_id: webhooks[1] })
    expect(dataOf(response).map((delivery) => delivery.id)).to.deep.equal([deliveries[1]?.id])
    expect(await scheduled(deliveries)).to.deep.equal([{ delivery: deliveries[1]?.id, chain: 2 }])
  })
  it('returns 202 without webhooks that are deleted or inactive', async () => {
    const [live, inactive, deleted] = [await api.webhook(admin), await api.webhook(admin), await api.webhook(admin)]
    const { id, deliveries } = await sent([live, inactive, deleted])
    await api.call('PATCH', `/v1/webhooks/${inactive}`, { as: admin, body: { is_active: false } })
    await api.call('DELETE', `/v1/webhooks/${deleted}`, { as: admin })
    expect(dataOf(await replay(id)).map((delivery) => delivery.webhook_id)).to.deep.equal([live])
    expect(await scheduled(deliveries)).to.deep.equal([{ delivery: deliveries[0]?.id, chain: 2 }])
    const refused = await replay(id, { webhook_id: inactive })
    expect([refused.status, refused.get('error.code')]).to.deep.equal([409, 'webhook_inactive'])
    const other = await replay(id, { webhook_id: deleted })
    expect([other.status, other.get('error.code')]).to.deep.equal([409, 'webhook_deleted'])
  })
  it('returns 202 with an empty list for an event that matched no webhook', async () => {
    const { id } = await sent([])
    expect(dataOf(await replay(id, {}))).to.deep.equal([])
  })
  it('returns 410 payload_expired when the payload has expired, and schedules nothing', async () => {
    const { id, deliveries } = await sent([await api.webhook(admin)])
    await api.db.pool.query('delete from messages')
    const refused = await replay(id)
    expect([refused.status, refused.get('error.code')]).to.deep.equal([410, 'payload_expired'])
    expect(await scheduled(deliveries)).to.deep.equal([])
  })
  it('returns 422 for a webhook that the event was not routed to, and for unknown fields', async () => {
    const { id } = await sent([await api.webhook(admin)])
    for (const body of [{ webhook_id: await api.webhook(admin) }, { webhook_id: 'x' }, { webhook: 'x' }])
      expect((await replay(id, body)).status, JSON.stringify(body)).to.equal(422)
  })
  it('returns 404 for an unknown event, and for another tenant', async () => {
    const { id } = await sent([await api.webhook(admin)])
    expect((await replay('nothing')).status).to.equal(404)
    expect((await replay(id, undefined, await api.tenant())).status).to.equal(404)
  })
})
