import { expect } from 'chai'
import { machineTimeOf, soonTimedOut } from '../support/patience.ts'
import { failures, type Receiver, startReceiver } from '../support/receiver.ts'
import { type Client, clientOf, type DeliveryAnswer, type Page, type WebhookAnswer } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

/** Quick retries and time-outs; otherwise the service as a user starts it. */
const quick = { ...soonTimedOut, KOLBAK_RETRY_DELAYS: '0.2,0.3,0.4' }

describe('delivery, end to end', () => {
  const { service, receiver } = withService({ variables: quick })
  let api: Client
  let secure: Receiver
  let events = 0
  let paths = 0

  before(async () => {
    secure = await startReceiver({ tls: true })
    api = await clientOf(service.url)
  })
  after(() => secure.close())

  const path = () => `/hook-${++paths}`
  const subscribe = async (at: string, event: string, more: object = {}): Promise<WebhookAnswer> => {
    const webhook = await api.post<WebhookAnswer>('/v1/webhooks', {
      callback_url: at.startsWith('/') ? receiver.url(at) : at,
      event,
      ...more,
    })
    if (at.startsWith('/')) receiver.verify(at, webhook.secret)
    return webhook
  }
  const post = async (event: string, more: object = {}): Promise<string> => {
    const id = `evt_${++events}`
    await api.post('/v1/events', { id, event, payload: { n: events }, ...more })
    return id
  }
  const deliveriesOf = async (id: string) => (await api.get<Page<DeliveryAnswer>>(`/v1/events/${id}/deliveries`)).data
  const delivered = (id: string, status: string) =>
    waitFor(
      async () => {
        const [delivery] = await deliveriesOf(id)
        return delivery?.status === status ? delivery : undefined
      },
      { what: `${id} to be ${status}` },
    )
  /** A webhook whose receiver behaves so, an event for it, and what becomes of that. */
  const outcome = async (behaviour: Parameters<Receiver['answer']>[1], status: string, event = `case.${paths}`) => {
    const at = path()
    receiver.answer(at, behaviour)
    await subscribe(at, event)
    return { at, delivery: await delivered(await post(event), status) }
  }

  it('sends the payload exactly as it was posted, signed for the official library', async () => {
    const at = path()
    await subscribe(at, 'exact.*')
    const payload = '{"z":1,"a":{"amount":1.10,"big":12345678901234567890,"text":"\\u00e9 \\/ \ud83d\ude00"},"z2":[1e2, -0]}'
    const body = `{"payload": ${payload} ,"event":"exact.posted","id":"exact_1","source":"shop","event_time":"2025-03-31T00:42:50+02:00"}`
    expect((await api.call('POST', '/v1/events', body)).status).to.equal(202)
    await delivered('exact_1', 'success')
    const [request] = receiver.received(at)
    expect(request?.raw).to.equal(
      `{"id":"exact_1","event":"exact.posted","event_time":"2025-03-31T00:42:50+02:00","source":"shop","payload":${payload}}`,
    )
    expect(request?.verified).to.equal(true)
    expect(request?.headers).to.include({ 'webhook-id': 'exact_1', 'kolbak-attempt': '1', 'content-type': 'application/json' })
    expect(request?.headers['user-agent']).to.match(/^Kolbak\/\d/)
  })

  it('gives an event without an id one of its own, and event_time and source as null', async () => {
    const at = path()
    await subscribe(at, 'bare')
    const answer = await api.post<{ data: { id: string } }>('/v1/events', { event: 'bare', payload: {} })
    expect(answer.data.id).to.match(/^evt_[0-9A-HJKMNP-TV-Z]{26}$/)
    await delivered(answer.data.id, 'success')
    expect(receiver.received(at)[0]?.body).to.deep.equal({ id: answer.data.id, event: 'bare', event_time: null, source: null, payload: {} })
  })

  it('sends to every webhook whose pattern takes the event, and to no other', async () => {
    const [exact, prefix, all, other, off] = [path(), path(), path(), path(), path()]
    await subscribe(exact, 'fan.out.now')
    await subscribe(prefix, 'fan.*')
    const star = await subscribe(all, '*')
    await subscribe(other, 'fan')
    await subscribe(off, 'fan.out.now', { is_active: false })
    const id = await post('fan.out.now')
    await waitFor(async () => {
      const all = await deliveriesOf(id)
      return all.length === 3 && all.every((d) => d.status === 'success')
    })
    expect([exact, prefix, all].map((at) => receiver.received(at).length)).to.deep.equal([1, 1, 1])
    expect([other, off].map((at) => receiver.received(at).length)).to.deep.equal([0, 0])
    await api.call('DELETE', `/v1/webhooks/${star.id}`)
  })

  it('shows an event that nothing matched as unmatched', async () => {
    const id = await post('nobody.cares')
    const { data } = await api.get<{ data: { status: string; deliveries: { total: number } } }>(`/v1/events/${id}`)
    expect(data.status).to.equal('unmatched')
    expect(data.deliveries.total).to.equal(0)
  })

  it('drops the same event posted again, and shows other content under its id as a rejection', async () => {
    const at = path()
    await subscribe(at, 'twice')
    for (let i = 0; i < 3; i++) await api.post('/v1/events', { id: 'twice_1', event: 'twice', payload: { n: 1 } })
    await api.post('/v1/events', { id: 'twice_1', event: 'twice', payload: { n: 2 } })
    await post('twice')
    await waitFor(() => receiver.received(at).length === 2)
    await waitFor(async () => (await api.get<{ data: { has_rejections: boolean } }>('/v1/events/twice_1')).data.has_rejections)
    expect(
      receiver
        .received(at)
        .filter((r) => r.body.id === 'twice_1')
        .map((r) => r.body.payload),
    ).to.deep.equal([{ n: 1 }])
  })

  it('tries a failing receiver again under the same webhook-id until it recovers', async () => {
    const at = path()
    receiver.answer(at, 503)
    await subscribe(at, 'flaky')
    const id = await post('flaky')
    const retrying = await delivered(id, 'retrying')
    expect(retrying.next_attempt_at).to.be.a('string')
    await waitFor(() => receiver.received(at).length === 2)
    receiver.answer(at, (_request, response) => response.writeHead(202).end('taken'))
    const { attempts } = await delivered(id, 'success')
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
    // 0.2 s and 0.3 s, each 20 % less at the least.
    expect(requests[1]!.at - requests[0]!.at).to.be.greaterThan(160)
    expect(requests[2]!.at - requests[1]!.at).to.be.greaterThan(240)
  })

  it('makes a dead letter after the last attempt, which a replay sends again', async () => {
    const { at, delivery } = await outcome(500, 'failed', 'dead')
    expect(delivery.attempts).to.have.length(4)
    expect(delivery.last_reason).to.equal('http_500')
    const dead = await api.get<Page<DeliveryAnswer>>(`/v1/dead-letters?webhook=${delivery.webhook_id}`)
    expect(dead.data.map((d) => d.id)).to.deep.equal([delivery.id])
    receiver.answer(at, 200)
    expect((await api.call('POST', `/v1/deliveries/${delivery.id}/replay`)).status).to.equal(202)
    const again = await delivered(delivery.event_id, 'success')
    expect(again).to.include({ id: delivery.id, chain: 2 })
    expect(again.attempts).to.have.length(5)
    expect(receiver.received(at).at(-1)?.headers['webhook-id']).to.equal(delivery.event_id)
    expect((await api.get<Page<DeliveryAnswer>>(`/v1/dead-letters?webhook=${delivery.webhook_id}`)).data).to.deep.equal([])
  })

  it('deactivates the webhooks of a key that is deleted with webhooks=deactivate', async () => {
    const { data } = await api.post<{ data: { id: string; key: string } }>('/v1/keys', {
      name: 'Consumer',
      scopes: ['read:webhooks', 'write:webhooks'],
    })
    const created = await fetch(`${service.url}/v1/webhooks`, {
      method: 'POST',
      headers: { 'x-api-key': data.key, 'content-type': 'application/json' },
      body: JSON.stringify({ callback_url: receiver.url(path()), event: 'order.created' }),
    })
    const { id } = (await created.json()) as WebhookAnswer
    await api.call('DELETE', `/v1/keys/${data.id}?webhooks=deactivate`)
    const webhook = await waitFor(async () => {
      const found = await api.get<WebhookAnswer>(`/v1/webhooks/${id}`)
      return found.is_active ? undefined : found
    })
    expect(webhook.deactivation_reason).to.equal('key_deleted')
  })

  describe('to receivers that fail', () => {
    for (const code of [400, 405, 406, 411, 413, 414, 415, 422, 501])
      it(`ends at once on ${code}`, async () => {
        const { delivery } = await outcome(code, 'failed')
        expect(delivery.attempts.map((a) => a.response_code)).to.deep.equal([code])
      })
    it('deactivates the webhook on 410, and says why', async () => {
      const { delivery } = await outcome(410, 'failed')
      const webhook = await waitFor(async () => {
        const found = await api.get<WebhookAnswer>(`/v1/webhooks/${delivery.webhook_id}`)
        return found.is_active ? undefined : found
      })
      expect(webhook.deactivation_reason).to.equal('gone')
    })
    for (const [what, behaviour, code, reason] of [
      ['hang', failures.hangs, null, 'timeout'],
      ['reset the connection', failures.resetBeforeAnswer, null, 'connection_reset'],
      ['do not speak HTTP', failures.notHttp, null, 'invalid_response'],
      ['redirect', failures.redirects, 302, 'http_302'],
      ['refuse credentials', 401, 401, 'http_401'],
      ['are not there for a minute', 404, 404, 'http_404'],
    ] as const)
      it(`tries those again that ${what}`, async () => {
        const { delivery } = await outcome(behaviour, 'retrying')
        expect(delivery.attempts[0]).to.include({ response_code: code, reason, status: 'failed' })
      })
    for (const [what, behaviour] of [
      ['drip a byte a second', failures.drips],
      ['flood 64 MB', failures.floods],
      ['break off in the body', failures.resetMidBody],
    ] as const)
      it(`takes the 200 of those that ${what}, in bounded time`, async () => {
        const { delivery } = await outcome(behaviour, 'success')
        expect(delivery.attempts[0]?.duration_ms).to.be.lessThan(30_000)
      })
    it('keeps 4 KiB of a long answer and says that it was cut', async () => {
      const { delivery } = await outcome(failures.floods, 'success')
      expect(delivery.attempts[0]?.response_body).to.equal('x'.repeat(4096))
      expect(delivery.attempts[0]?.response_truncated).to.equal(true)
    })
    it('records an answer of NUL bytes and broken UTF-8', async () => {
      const { delivery } = await outcome(failures.brokenText, 'retrying')
      expect(delivery.attempts[0]?.response_body).to.satisfy((text: string) => text.startsWith('ok\u0000\ufffd'))
    })
    it('honours Retry-After in seconds', async () => {
      const { at } = await outcome(failures.retryAfter('1'), 'retrying')
      await waitFor(() => receiver.received(at).length === 2)
      const [first, second] = receiver.received(at)
      expect(second!.at - first!.at).to.be.at.least(1_000)
    })
    it('honours Retry-After as a date', async () => {
      const date = new Date(Date.now() + 3_600_000).toUTCString()
      const { delivery } = await outcome(failures.retryAfter(date, 503), 'retrying')
      expect(Date.parse(delivery.next_attempt_at!)).to.be.within(Date.parse(date) - 50, Date.parse(date) + 60_000)
    })
    it('tries a receiver again that nobody trusts the certificate of', async () => {
      await subscribe(secure.url('/tls'), 'tls')
      const { attempts } = await delivered(await post('tls'), 'retrying')
      expect(attempts[0]).to.include({ response_code: null, reason: 'tls_failed' })
    })
    it('tries one again that refuses connections', async () => {
      await subscribe('http://127.0.0.1:1/', 'refused')
      const { attempts } = await delivered(await post('refused'), 'retrying')
      expect(attempts[0]?.reason).to.equal('connection_refused')
    })
  })

  it('discards what is owed to a webhook that was deactivated or deleted meanwhile', async () => {
    for (const end of ['deactivated', 'deleted']) {
      const at = path()
      receiver.answer(at, 503)
      const webhook = await subscribe(at, `discard.${end}`)
      const id = await post(`discard.${end}`)
      await delivered(id, 'retrying')
      if (end === 'deleted') await api.call('DELETE', `/v1/webhooks/${webhook.id}`)
      else await api.patch(`/v1/webhooks/${webhook.id}`, { is_active: false })
      expect((await delivered(id, 'discarded')).last_reason).to.equal(`webhook_${end === 'deleted' ? 'deleted' : 'inactive'}`)
    }
  })

  it('sends retries to the URL as it is now', async () => {
    const [before, after] = [path(), path()]
    receiver.answer(before, 503)
    const webhook = await subscribe(before, 'moved')
    const id = await post('moved')
    await delivered(id, 'retrying')
    await api.patch(`/v1/webhooks/${webhook.id}`, { callback_url: receiver.url(after) })
    receiver.verify(after, webhook.secret)
    await delivered(id, 'success')
    expect(receiver.received(after).map((r) => r.verified)).to.deep.equal([true])
  })

  for (const [pace, answersInMs, share] of [
    ['quickly', 20, 32],
    ['slowly', 200, 10],
  ] as const)
    it(`lets one webhook that answers ${pace} have no more than its share at once, and delivers all the same`, async () => {
      const at = path()
      let now = 0
      let most = 0
      receiver.answer(at, (_request, response) => {
        most = Math.max(most, ++now)
        setTimeout(() => {
          now--
          response.end()
        }, answersInMs)
      })
      const webhook = await subscribe(at, `burst.${pace}`)
      await Promise.all(Array.from({ length: 200 }, () => post(`burst.${pace}`)))
      await waitFor(() => new Set(receiver.received(at).map((r) => r.body.id)).size === 200)
      expect(most).to.be.within(2, share)
      // A busy machine may let one time out, which is then tried again: each attempt is made once.
      const attempts = receiver.received(at).map((r) => `${r.body.id} ${r.headers['kolbak-attempt']}`)
      expect(new Set(attempts).size).to.equal(attempts.length)
      await waitFor(
        async () =>
          (await api.get<Page<DeliveryAnswer>>(`/v1/webhooks/${webhook.id}/deliveries?status=success&limit=100`)).data.length === 100,
      )
    })

  it('parks what a hanging webhook cannot take, and delivers to others beside it', async () => {
    const [hanging, good] = [path(), path()]
    receiver.answer(hanging, failures.hangs)
    const stuck = await subscribe(hanging, 'park.hang')
    await subscribe(good, 'park.good')
    await Promise.all(Array.from({ length: 60 }, () => post('park.hang')))
    const tookMs = await machineTimeOf(async () => delivered(await post('park.good'), 'success'))
    expect(tookMs, 'less than one time-out of the hanging receiver').to.be.lessThan(3_000)
    receiver.answer(hanging, 200)
    await waitFor(
      async () => (await api.get<Page<DeliveryAnswer>>(`/v1/webhooks/${stuck.id}/deliveries?status=success&limit=100`)).data.length === 60,
    )
  })

  it('writes no payload, secret, path of a callback or header into its log', async () => {
    const at = '/path-that-is-a-credential'
    const webhook = await subscribe(at, 'secretive')
    receiver.answer(at, 500)
    await api.post('/v1/events', { id: 'secretive_1', event: 'secretive', payload: { card: 'payload-that-is-a-secret' } })
    await delivered('secretive_1', 'retrying')
    const log = JSON.stringify(service.facts)
    expect(log).to.include('secretive_1')
    for (const secret of ['payload-that-is-a-secret', at, webhook.secret, 'a-secret-of-the-tests']) expect(log).to.not.include(secret)
  })
})
