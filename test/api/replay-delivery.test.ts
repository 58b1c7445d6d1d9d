import { expect } from 'chai'
import type { DeliveryData } from '../../src/events/delivery.ts'
import { replayedId } from '../../src/events/delivery-id.ts'
import type { StreamName } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { type RoutedDelivery, route } from '../support/routed.ts'

describe('POST /v1/deliveries/:id/replay', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi()
    admin = await api.tenant()
  })
  after(() => api.stop())
  let next = 0
  const delivered = async (webhook: string, as: TestClient = admin): Promise<RoutedDelivery> => {
    await api.call('POST', '/v1/events', { as, body: { id: `e${next++}`, event: 'order.created', payload: { n: 1 } } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    const [delivery] = await route(api, produced, [webhook])
    if (delivery === undefined) throw new Error('nothing was routed')
    await delivery.record({ type: 'DeliveryDeadLettered', code: 500, reason: 'http_500', duration_ms: 1 })
    return delivery
  }
  const replay = (id: string, as: TestClient | { key: string } = admin) => api.call('POST', `/v1/deliveries/${id}/replay`, { as })
  const replays = async (webhook: string) => {
    const today = new Date().toISOString().slice(0, 10).replaceAll('-', '')
    const events = await (api.deps.store as EventStore).read(`attempts-${webhook}-${today}` as StreamName)
    return events.filter((event) => event.type === 'DeliveryReplayed')
  }

  it('returns 202 with a pending delivery, and appends an event with everything that the next chain needs', async () => {
    const webhook = await api.webhook(admin)
    const delivery = await delivered(webhook)
    const begun = await replay(delivery.id)
    expect(begun.status).to.equal(202)
    const { data } = JSON.parse(begun.text)
    expect(data).to.include({ id: delivery.id, status: 'pending', chain: 2, attempt_count: 0, last_response_code: null, last_reason: null })
    expect(data.attempts.length, 'the earlier attempts stay visible').to.equal(1)
    expect(begun.headers.get('projection-lag')).to.equal(null)
    const [event, ...furtherEvents] = await replays(webhook)
    expect(furtherEvents).to.deep.equal([])
    const produced = api.produced.at(-1)
    const facts = event?.data as DeliveryData
    expect(event?.id).to.equal(replayedId(delivery.id, 2))
    expect(event?.metadata).to.include({
      actor: `client:${admin.clientId}`,
      tenant: admin.tenant,
      $correlationId: produced?.record.correlation_id,
      request_id: begun.headers.get('kolbak-request-id'),
    })
    expect(facts).to.deep.equal({
      tenant: admin.tenant,
      message: produced?.record.messages[0]?.id,
      place: produced?.place,
      fingerprint: produced?.record.messages[0]?.fingerprint,
      event: 'order.created',
      accepted_at: produced?.record.accepted_at,
      webhook,
      webhook_revision: 0,
      delivery: delivery.id,
      chain: 2,
      attempt: 0,
    })
    expect((await api.call('GET', `/v1/deliveries/${delivery.id}`, { as: admin })).get('data.status')).to.equal('pending')
    const { rows } = await api.db.pool.query(
      'select chain, attempt, due_at <= now() as due from scheduled_deliveries where delivery = $1',
      [delivery.id],
    )
    expect(rows).to.deep.equal([{ chain: 2, attempt: 1, due: true }])
  })
  it('returns 202 again when the replay is in the history, and starts a third chain', async () => {
    const webhook = await api.webhook(admin)
    const delivery = await delivered(webhook)
    expect((await replay(delivery.id)).get('data.chain')).to.equal('2')
    expect((await replay(delivery.id)).get('data.chain')).to.equal('3')
  })
  it('returns 202 to all concurrent requests, and appends one event per chain', async () => {
    const lagging = await startApi({
      replace: ({ deliveryLog }) => {
        // This delivery history never shows the replay.
        const first = new Map<string, ReturnType<typeof deliveryLog.find>>()
        return {
          waiter: { waitFor: async (projection) => projection !== 'deliveries' },
          deliveryLog: {
            ...deliveryLog,
            async find(tenant, id) {
              const reading = first.get(id) ?? deliveryLog.find(tenant, id)
              first.set(id, reading)
              return reading
            },
          },
        }
      },
    })
    const former = { api, admin }
    try {
      api = lagging
      admin = await lagging.tenant()
      const webhook = await lagging.webhook(admin)
      const delivery = await delivered(webhook)
      const all = await Promise.all([replay(delivery.id), replay(delivery.id), replay(delivery.id)])
      expect(all.map((response) => [response.status, response.get('data.chain'), response.headers.get('projection-lag')])).to.deep.equal([
        [202, '2', 'deliveries'],
        [202, '2', 'deliveries'],
        [202, '2', 'deliveries'],
      ])
      expect((await replays(webhook)).length).to.equal(1)
    } finally {
      api = former.api
      admin = former.admin
      await lagging.stop()
    }
  })
  it('returns 202 to the key that created the webhook, which becomes the actor, and 404 to any other key or tenant', async () => {
    const key = await api.key(admin)
    const webhook = await api.webhook(key)
    const delivery = await delivered(webhook)
    expect((await replay(delivery.id, await api.key(admin))).status).to.equal(404)
    expect((await replay(delivery.id, await api.tenant())).status).to.equal(404)
    expect(await replays(webhook)).to.deep.equal([])
    expect((await replay(delivery.id, key)).status).to.equal(202)
    expect((await replays(webhook))[0]?.metadata.actor).to.equal(`key:${key.id}`)
  })
  it('returns 409 when the webhook is inactive or deleted, and appends nothing', async () => {
    const webhook = await api.webhook(admin)
    const delivery = await delivered(webhook)
    await api.call('PATCH', `/v1/webhooks/${webhook}`, { as: admin, body: { is_active: false } })
    const inactive = await replay(delivery.id)
    expect(inactive.status).to.equal(409)
    expect(inactive.get('error.code')).to.equal('webhook_inactive')
    await api.call('DELETE', `/v1/webhooks/${webhook}`, { as: admin })
    const deleted = await replay(delivery.id)
    expect(deleted.status).to.equal(409)
    expect(deleted.get('error.code')).to.equal('webhook_deleted')
    expect(await replays(webhook)).to.deep.equal([])
  })
  it('returns 410 payload_expired when the payload has expired, and appends nothing', async () => {
    const webhook = await api.webhook(admin)
    const delivery = await delivered(webhook)
    await api.db.pool.query('delete from messages')
    const refused = await replay(delivery.id)
    expect(refused.status).to.equal(410)
    expect(refused.get('error.code')).to.equal('payload_expired')
    expect(await replays(webhook)).to.deep.equal([])
  })
  it('returns 404 for an unknown id and for a text that is not an id', async () => {
    for (const id of ['0195d3a1-7a4b-5c6d-8e9f-001122334455', 'x']) expect((await replay(id)).status).to.equal(404)
  })
})
