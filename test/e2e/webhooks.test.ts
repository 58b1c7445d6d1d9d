import { expect } from 'chai'
import { Webhook } from 'standardwebhooks'
import type { Received } from '../support/receiver.ts'
import { type Client, clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

/** Returns whether the official library accepts the request for a consumer who knows only this secret. */
function verifies(secret: string, { raw, headers }: Received): boolean {
  try {
    new Webhook(secret).verify(raw, headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}
const signatures = ({ headers }: Received) => String(headers['webhook-signature']).split(' ').length

describe('webhooks, end to end', () => {
  const { service, receiver } = withService()
  let api: Client
  let paths = 0

  before(async () => {
    api = await clientOf(service.url)
  })
  const subscribe = async (event: string, fields: object = {}) => {
    const path = `/consumer-${++paths}`
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event, ...fields })
    return { path, webhook }
  }
  /** Posts an event, and returns the request that the receiver gets. */
  const sent = async (path: string, event: string): Promise<Received> => {
    const before = receiver.received(path).length
    await api.post('/v1/events', { event, payload: {} })
    return waitFor(() => receiver.received(path)[before], { what: `a request to ${path}` })
  }
  const rotate = (id: string, body: object) =>
    api.post<{ secret: string; previous_secret_until: string | null }>(`/v1/webhooks/${id}/secret/rotate`, body)

  it('signs with both secrets after a rotation, so that old and new consumers both verify', async () => {
    const { path, webhook } = await subscribe('rotated')
    const before = await sent(path, 'rotated')
    expect([verifies(webhook.secret, before), signatures(before)]).to.deep.equal([true, 1])
    const { secret } = await rotate(webhook.id, { overlap_seconds: 3_600 })
    const during = await sent(path, 'rotated')
    expect([verifies(webhook.secret, during), verifies(secret, during), signatures(during)]).to.deep.equal([true, true, 2])
    const secondRotation = await rotate(webhook.id, {})
    const after = await sent(path, 'rotated')
    expect([webhook.secret, secret, secondRotation.secret].map((each) => verifies(each, after))).to.deep.equal([false, true, true])
  })
  it('signs with only the new secret once the overlap has ended', async () => {
    const { path, webhook } = await subscribe('overlapped')
    const { secret, previous_secret_until: until } = await rotate(webhook.id, { overlap_seconds: 1 })
    const alone = await waitFor(
      async () => {
        const request = await sent(path, 'overlapped')
        return verifies(webhook.secret, request) ? undefined : { request, at: Date.now() }
      },
      { what: 'the former secret to end' },
    )
    expect([verifies(secret, alone.request), signatures(alone.request)]).to.deep.equal([true, 1])
    expect(alone.at).to.be.greaterThanOrEqual(Date.parse(until ?? ''))
  })
  it('signs with only the new secret at once after a rotation without overlap', async () => {
    const { path, webhook } = await subscribe('replaced')
    const { secret } = await rotate(webhook.id, { overlap_seconds: 0 })
    const request = await sent(path, 'replaced')
    expect([verifies(webhook.secret, request), verifies(secret, request), signatures(request)]).to.deep.equal([false, true, 1])
  })
  it('signs with a secret that the consumer chose', async () => {
    const ownSecret = `whsec_${Buffer.from('a secret that the consumer has already').toString('base64')}`
    const { path, webhook } = await subscribe('owned', { secret: ownSecret })
    expect(webhook.secret).to.equal(ownSecret)
    expect(verifies(ownSecret, await sent(path, 'owned'))).to.equal(true)
  })
  it("retries after the webhook's own delays, and not more often", async () => {
    const { path, webhook } = await subscribe('own.delays', { retry_delays: [0.1, 0.2] })
    receiver.setResponse(path, 500)
    await sent(path, 'own.delays')
    const delivery = await waitFor(async () => {
      const { data } = await api.get<Page<DeliveryResponse>>(`/v1/webhooks/${webhook.id}/deliveries?status=failed`)
      return data[0]
    })
    expect(delivery.attempts.map((attempt) => attempt.number)).to.deep.equal([1, 2, 3])
    const at = receiver.received(path).map((request) => request.at)
    // The jitter is 20 %, so the delays are at least 80 % of 0.1 s and of 0.2 s.
    expect(at[1]! - at[0]!).to.be.greaterThan(80)
    expect(at[2]! - at[1]!).to.be.greaterThan(160)
  })
  it('sends a signed test event to one webhook alone, with any pattern', async () => {
    const all = await subscribe('*')
    const reserved = await subscribe('kolbak.*')
    const { path, webhook } = await subscribe('order.created')
    const { data } = await api.post<{ data: { id: string } }>(`/v1/webhooks/${webhook.id}/test`, undefined)
    const request = await waitFor(() => receiver.received(path)[0])
    expect(request.body).to.include({ id: data.id, event: 'kolbak.test', source: 'kolbak' })
    expect(verifies(webhook.secret, request)).to.equal(true)
    const [delivery] = await waitFor(async () => {
      const page = await api.get<Page<DeliveryResponse>>(`/v1/events/${data.id}/deliveries`)
      return page.data.every((each) => each.status === 'success') ? page.data : undefined
    })
    expect(delivery?.webhook_id).to.equal(webhook.id)
    expect([...receiver.received(all.path), ...receiver.received(reserved.path)]).to.deep.equal([])
    for (const { webhook: other } of [all, reserved]) await api.call('DELETE', `/v1/webhooks/${other.id}`)
  })
  it('sends all deliveries of an event again when it is replayed', async () => {
    const firstWebhook = await subscribe('again')
    const secondWebhook = await subscribe('again')
    await api.post('/v1/events', { id: 'again_1', event: 'again', payload: {} })
    await waitFor(() => receiver.received(firstWebhook.path).length === 1 && receiver.received(secondWebhook.path).length === 1)
    await waitFor(async () => (await api.post<Page<DeliveryResponse>>('/v1/events/again_1/replay', undefined)).data.length === 2)
    await waitFor(() => receiver.received(firstWebhook.path).length > 1 && receiver.received(secondWebhook.path).length > 1)
    expect(receiver.received(firstWebhook.path).every((request) => request.headers['webhook-id'] === 'again_1')).to.equal(true)
  })
  it('accepts a batch and delivers each of its events', async () => {
    const { path } = await subscribe('batched.*')
    const events = Array.from({ length: 100 }, (_, i) => ({ id: `batched_${i}`, event: `batched.${i}`, payload: { i } }))
    await api.post('/v1/events/batch', { events })
    await waitFor(() => receiver.received(path).length === 100)
    expect(
      receiver
        .received(path)
        .map((request) => request.body.id)
        .sort(),
    ).to.deep.equal(events.map((event) => event.id).sort())
    const listed = await api.get<Page<{ id: string }>>('/v1/events?event=batched.7')
    expect(listed.data.map((event) => event.id)).to.deep.equal(['batched_7'])
  })
  it('deactivates the webhooks of a key that is deleted with webhooks=deactivate', async () => {
    const { data } = await api.post<{ data: { id: string; key: string } }>('/v1/keys', {
      name: 'Consumer',
      scopes: ['read:webhooks', 'write:webhooks'],
    })
    const created = await fetch(`${service.url}/v1/webhooks`, {
      method: 'POST',
      headers: { 'x-api-key': data.key, 'content-type': 'application/json' },
      body: JSON.stringify({ callback_url: receiver.url('/of-a-key'), event: 'order.created' }),
    })
    const { id } = (await created.json()) as WebhookResponse
    await api.call('DELETE', `/v1/keys/${data.id}?webhooks=deactivate`)
    const webhook = await waitFor(async () => {
      const webhookNow = await api.get<WebhookResponse>(`/v1/webhooks/${id}`)
      return webhookNow.is_active ? undefined : webhookNow
    })
    expect(webhook.deactivation_reason).to.equal('key_deleted')
  })
})
