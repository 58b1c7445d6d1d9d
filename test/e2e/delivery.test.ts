import { expect } from 'chai'
import { expectDelivery } from '../support/expectations.ts'
import type { DeliveryResponse, Page } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withDeliveries } from './deliveries.ts'

describe('delivery, end to end', () => {
  const deliveries = withDeliveries()
  const { receiver, path, subscribe, post, expectOutcome } = deliveries

  it('sends the payload exactly as it was posted, signed for the official library', async () => {
    const at = path()
    await subscribe(at, 'exact.*')
    const payload = '{"z":1,"a":{"amount":1.10,"big":12345678901234567890,"text":"\\u00e9 \\/ \ud83d\ude00"},"z2":[1e2, -0]}'
    const body = `{"payload": ${payload} ,"event":"exact.posted","id":"exact_1","source":"shop","event_time":"2025-03-31T00:42:50+02:00"}`
    expect((await deliveries.api.call('POST', '/v1/events', body)).status).to.equal(202)
    await expectDelivery(deliveries.api, 'exact_1', 'success')
    const [request] = receiver.received(at)
    expect(request?.raw).to.equal(
      `{"id":"exact_1","event":"exact.posted","event_time":"2025-03-31T00:42:50+02:00","source":"shop","payload":${payload}}`,
    )
    expect(request?.verified).to.equal(true)
    expect(request?.headers).to.include({ 'webhook-id': 'exact_1', 'kolbak-attempt': '1', 'content-type': 'application/json' })
    expect(request?.headers['user-agent']).to.match(/^Kolbak\/\d/)
  })

  it('gives an event an id if it has none, and sends a missing event_time or source as null', async () => {
    const at = path()
    await subscribe(at, 'bare')
    const reply = await deliveries.api.post<{ data: { id: string } }>('/v1/events', { event: 'bare', payload: {} })
    expect(reply.data.id).to.match(/^evt_[0-9A-HJKMNP-TV-Z]{26}$/)
    await expectDelivery(deliveries.api, reply.data.id, 'success')
    expect(receiver.received(at)[0]?.body).to.deep.equal({ id: reply.data.id, event: 'bare', event_time: null, source: null, payload: {} })
  })

  it('sends to every webhook whose pattern matches the event, and to no other', async () => {
    const [exact, prefix, all, other, off] = [path(), path(), path(), path(), path()]
    await subscribe(exact, 'fan.out.now')
    await subscribe(prefix, 'fan.*')
    const star = await subscribe(all, '*')
    await subscribe(other, 'fan')
    await subscribe(off, 'fan.out.now', { is_active: false })
    const id = await post('fan.out.now')
    await waitFor(async () => {
      const all = (await deliveries.api.get<Page<DeliveryResponse>>(`/v1/events/${id}/deliveries`)).data
      return all.length === 3 && all.every((d) => d.status === 'success')
    })
    expect([exact, prefix, all].map((at) => receiver.received(at).length)).to.deep.equal([1, 1, 1])
    expect([other, off].map((at) => receiver.received(at).length)).to.deep.equal([0, 0])
    await deliveries.api.call('DELETE', `/v1/webhooks/${star.id}`)
  })

  it('shows an event that matches no webhook as unmatched', async () => {
    const id = await post('nobody.cares')
    const { data } = await deliveries.api.get<{ data: { status: string; deliveries: { total: number } } }>(`/v1/events/${id}`)
    expect(data.status).to.equal('unmatched')
    expect(data.deliveries.total).to.equal(0)
  })

  it('drops an event that is posted again, and shows other content under the same id as a rejection', async () => {
    const at = path()
    await subscribe(at, 'twice')
    for (let i = 0; i < 3; i++) await deliveries.api.post('/v1/events', { id: 'twice_1', event: 'twice', payload: { n: 1 } })
    await deliveries.api.post('/v1/events', { id: 'twice_1', event: 'twice', payload: { n: 2 } })
    await post('twice')
    await waitFor(() => receiver.received(at).length === 2)
    await waitFor(async () => (await deliveries.api.get<{ data: { has_rejections: boolean } }>('/v1/events/twice_1')).data.has_rejections)
    expect(
      receiver
        .received(at)
        .filter((r) => r.body.id === 'twice_1')
        .map((r) => r.body.payload),
    ).to.deep.equal([{ n: 1 }])
  })

  it('repeats the request under the same webhook-id until the receiver recovers', async () => {
    const at = path()
    receiver.setResponse(at, ({ headers }, response) =>
      headers['kolbak-attempt'] === '3' ? response.writeHead(202).end('taken') : response.writeHead(503).end(),
    )
    await subscribe(at, 'flaky', { retry_delays: [0.2, 2, 2] })
    const id = await post('flaky')
    const retrying = await expectDelivery(deliveries.api, id, 'retrying')
    expect(retrying.next_attempt_at).to.be.a('string')
    const { attempts } = await expectDelivery(deliveries.api, id, 'success')
    expect(attempts.map((a) => [a.number, a.status, a.response_code])).to.deep.equal([
      [1, 'failed', 503],
      [2, 'failed', 503],
      [3, 'success', 202],
    ])
    expect(attempts[2]?.response_body).to.equal('taken')
    const requests = receiver.received(at)
    expect(new Set(requests.map((r) => r.headers['webhook-id']))).to.deep.equal(new Set([id]))
    expect(requests.map((r) => r.headers['kolbak-attempt'])).to.deep.equal(['1', '2', '3'])
    expect(requests.every((r) => r.verified)).to.equal(true)
    // The jitter is 20 %, so the delays are at least 80 % of 0.2 s and of 2 s.
    expect(requests[1]!.at - requests[0]!.at).to.be.greaterThan(160)
    expect(requests[2]!.at - requests[1]!.at).to.be.greaterThan(1_600)
  })

  it('ends a delivery as a dead letter after the last attempt, and sends it again on a replay', async () => {
    const { at, delivery } = await expectOutcome(500, 'failed', { retry_delays: [0.1, 0.2, 0.3] })
    expect(delivery.attempts).to.have.length(4)
    expect(delivery.last_reason).to.equal('http_500')
    const dead = await deliveries.api.get<Page<DeliveryResponse>>(`/v1/dead-letters?webhook=${delivery.webhook_id}`)
    expect(dead.data.map((d) => d.id)).to.deep.equal([delivery.id])
    receiver.setResponse(at, 200)
    expect((await deliveries.api.call('POST', `/v1/deliveries/${delivery.id}/replay`)).status).to.equal(202)
    const deliveryNow = await expectDelivery(deliveries.api, delivery.event_id, 'success')
    expect(deliveryNow).to.include({ id: delivery.id, chain: 2 })
    expect(deliveryNow.attempts).to.have.length(5)
    expect(receiver.received(at).at(-1)?.headers['webhook-id']).to.equal(delivery.event_id)
    expect((await deliveries.api.get<Page<DeliveryResponse>>(`/v1/dead-letters?webhook=${delivery.webhook_id}`)).data).to.deep.equal([])
  })

  it('discards the waiting deliveries of a webhook that is deactivated or deleted', async () => {
    for (const end of ['deactivated', 'deleted']) {
      const at = path()
      receiver.setResponse(at, 503)
      const webhook = await subscribe(at, `discard.${end}`)
      const id = await post(`discard.${end}`)
      await expectDelivery(deliveries.api, id, 'retrying')
      if (end === 'deleted') await deliveries.api.call('DELETE', `/v1/webhooks/${webhook.id}`)
      else await deliveries.api.patch(`/v1/webhooks/${webhook.id}`, { is_active: false })
      expect((await expectDelivery(deliveries.api, id, 'discarded')).last_reason).to.equal(
        `webhook_${end === 'deleted' ? 'deleted' : 'inactive'}`,
      )
    }
  })

  it('sends retries to the present URL of the webhook', async () => {
    const [before, after] = [path(), path()]
    receiver.setResponse(before, 503)
    const webhook = await subscribe(before, 'moved')
    const id = await post('moved')
    await expectDelivery(deliveries.api, id, 'retrying')
    await deliveries.api.patch(`/v1/webhooks/${webhook.id}`, { callback_url: receiver.url(after) })
    receiver.verify(after, webhook.secret)
    await expectDelivery(deliveries.api, id, 'success')
    expect(receiver.received(after).map((r) => r.verified)).to.deep.equal([true])
  })

  it('writes no payload, secret, callback path or header into its log', async () => {
    const at = '/path-that-is-a-credential'
    const webhook = await subscribe(at, 'secretive')
    receiver.setResponse(at, 500)
    await deliveries.api.post('/v1/events', { id: 'secretive_1', event: 'secretive', payload: { card: 'payload-that-is-a-secret' } })
    await expectDelivery(deliveries.api, 'secretive_1', 'retrying')
    const log = JSON.stringify(deliveries.service.logLines)
    expect(log).to.include('secretive_1')
    for (const secret of ['payload-that-is-a-secret', at, webhook.secret, 'a-secret-of-the-tests']) expect(log).to.not.include(secret)
  })
})
