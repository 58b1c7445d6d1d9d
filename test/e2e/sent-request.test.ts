import { expect } from 'chai'
import type { Received } from '../support/receiver.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

interface SentRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
  readonly webhook_revision: number
  readonly is_certain: boolean
  readonly present_revision: number | null
}
interface Timeline {
  readonly accepted_at: string
  readonly routed_at: string | null
  readonly attempts: readonly {
    readonly number: number
    readonly chain: number
    readonly at: string
    readonly waited: object | null
    readonly timings: { readonly connect_ms: number; readonly first_byte_ms: number } | null
    readonly response_headers: Readonly<Record<string, string>> | null
    readonly webhook_revision: number
  }[]
}
interface Delivery {
  readonly id: string
  readonly attempts: readonly { readonly chain: number; readonly number: number }[]
}

describe('the request of an attempt', () => {
  const { service, receiver } = withService()
  let api: Client
  let webhook: WebhookResponse
  let delivery: string
  /** The requests that the receiver got, in the order of the attempts. */
  const received: Received[] = []
  before(async () => {
    api = await clientOf(service.url)
    receiver.setResponse('/first', (_request, response) =>
      response.writeHead(500, { 'x-request-id': 'r-1', 'retry-after': '7', 'set-cookie': 'secret=1' }).end('no'),
    )
    for (const path of ['/second', '/third']) receiver.setResponse(path, 500)
    webhook = await api.post<WebhookResponse>('/v1/webhooks', {
      callback_url: receiver.url('/first'),
      event: 'order.created',
      retry_delays: [600],
    })
    await api.post('/v1/events', {
      id: 'one',
      event: 'order.created',
      event_time: '2026-01-01T00:00:00Z',
      payload: { total: 1, text: 'ü "\\' },
    })
    await arrival('/first', 1)
    // Each change comes just before the next attempt, so that the time alone does not tell which revision it used.
    const replay = async (path: string, count: number) => {
      await api.post(`/v1/deliveries/${delivery}/replay`, {})
      await arrival(path, count)
    }
    await api.patch(`/v1/webhooks/${webhook.id}`, { callback_url: receiver.url('/second') })
    await replay('/second', 1)
    await api.post(`/v1/webhooks/${webhook.id}/secret/rotate`, { overlap_seconds: 3_600 })
    await replay('/second', 2)
    await api.patch(`/v1/webhooks/${webhook.id}`, { callback_url: receiver.url('/third') })
    await replay('/third', 1)
  })
  /** Waits until the receiver has got the request and the history has the attempt. */
  const arrival = async (path: string, count: number) => {
    received.push(await waitFor(() => receiver.received(path)[count - 1], { what: `request ${count} to ${path}` }))
    delivery = await waitFor(
      async () => {
        const { data } = await api.get<{ data: Delivery[] }>(`/v1/webhooks/${webhook.id}/deliveries`)
        return data[0]?.attempts.length === received.length ? data[0].id : undefined
      },
      { what: `attempt ${received.length} in the history` },
    )
  }
  const requestOf = async (query: string) => (await api.get<{ data: SentRequest }>(`/v1/deliveries/${delivery}/request${query}`)).data
  const lowerCase = (headers: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

  it('is, byte for byte, what the receiver got, through changes of the URL, a rotation and replays', async () => {
    const revisions: number[] = []
    for (const [i, request] of received.entries()) {
      const sent = await requestOf(`?chain=${i + 1}&attempt=1&signed=true`)
      expect(sent.url, `attempt ${i}`).to.equal(receiver.url(request.path))
      expect(sent.body).to.equal(request.raw)
      expect(lowerCase(sent.headers)).to.deep.equal({ ...request.headers })
      expect([sent.is_certain, sent.present_revision]).to.deep.equal([true, 3])
      revisions.push(sent.webhook_revision)
    }
    expect(revisions).to.deep.equal([0, 1, 2, 3])
    expect(received[2]?.headers['webhook-signature']).to.include(' ') // both secrets signed it
  })
  it('has a timeline, with the time of routing, the steps of the request and some headers of the response', async () => {
    const { data } = await api.get<{ data: Timeline }>(`/v1/deliveries/${delivery}/timeline`)
    expect(data.attempts.map(({ chain, number }) => [chain, number])).to.deep.equal([1, 2, 3, 4].map((chain) => [chain, 1]))
    expect(data.attempts.map(({ webhook_revision }) => webhook_revision)).to.deep.equal([0, 1, 2, 3])
    const [first] = data.attempts
    expect(data.routed_at).to.be.a('string')
    // Only acceptance is a lower bound: an attempt may be earlier than the record of its routing.
    expect(data.routed_at! >= data.accepted_at, `${data.routed_at} after ${data.accepted_at}`).to.equal(true)
    expect(first?.response_headers).to.include({ 'x-request-id': 'r-1', 'retry-after': '7' }).and.not.have.property('set-cookie')
    expect(first?.timings).to.include({ dns_ms: null, tls_ms: null })
    expect(first?.timings?.connect_ms).to.be.within(0, 15_000)
    expect(first?.timings?.first_byte_ms).to.be.within(0, 15_000)
    expect(first?.waited).to.equal(null)
  })
  it('is that of the latest attempt by default, without the signature', async () => {
    const sent = await requestOf('')
    expect(sent.url).to.equal(receiver.url('/third'))
    expect(sent.headers).to.not.have.property('webhook-signature')
  })
  it('needs read:events, and write:webhooks as well for the signature', async () => {
    const issue = async (scopes: string[]) => {
      const { data } = await api.post<{ data: { client_id: string; client_secret: string } }>(
        '/v1/tenants/00000000000000000000000000/clients',
        {
          name: 'x',
          scopes,
        },
      )
      return clientOf(service.url, { id: data.client_id, secret: data.client_secret })
    }
    const path = `/v1/deliveries/${delivery}/request`
    const [withoutEvents, reader] = [await issue(['read:webhooks', 'write:webhooks']), await issue(['read:webhooks', 'read:events'])]
    expect((await withoutEvents.call('GET', path)).status).to.equal(403)
    expect((await reader.call('GET', path)).status).to.equal(200)
    expect((await reader.call('GET', `${path}?signed=true`)).status).to.equal(403)
  })
  it('is not found for an attempt that was never made', async () => {
    expect((await api.call('GET', `/v1/deliveries/${delivery}/request?chain=9`)).status).to.equal(404)
  })
})
