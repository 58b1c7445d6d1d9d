import { expect } from 'chai'
import { expectDelivery } from '../support/expectations.ts'
import { failures } from '../support/receiver.ts'
import type { WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withReceiver } from '../support/with-services.ts'
import { withDeliveries } from './deliveries.ts'

describe('delivery to receivers that fail', () => {
  const deliveries = withDeliveries()
  const secure = withReceiver({ tls: true })
  const { receiver, subscribe, post, expectOutcome } = deliveries

  for (const code of [400, 405, 406, 411, 413, 414, 415, 422, 501])
    it(`ends at once on ${code}`, async () => {
      const { delivery } = await expectOutcome(code, 'failed')
      expect(delivery.attempts.map((a) => a.response_code)).to.deep.equal([code])
    })
  it('deactivates the webhook on 410, with the reason', async () => {
    const { delivery } = await expectOutcome(410, 'failed')
    const webhook = await waitFor(async () => {
      const webhookNow = await deliveries.api.get<WebhookResponse>(`/v1/webhooks/${delivery.webhook_id}`)
      return webhookNow.is_active ? undefined : webhookNow
    })
    expect(webhook.deactivation_reason).to.equal('gone')
  })
  for (const [what, behaviour, code, reason] of [
    ['hang', failures.hangs, null, 'timeout'],
    ['reset the connection', failures.resetBeforeResponse, null, 'connection_reset'],
    ['do not speak HTTP', failures.notHttp, null, 'invalid_response'],
    ['redirect', failures.redirects, 302, 'http_302'],
    ['refuse credentials', 401, 401, 'http_401'],
    ['are missing for a moment', 404, 404, 'http_404'],
  ] as const)
    it(`sends again to receivers that ${what}`, async () => {
      const { delivery } = await expectOutcome(behaviour, 'retrying')
      expect(delivery.attempts[0]).to.include({ response_code: code, reason, status: 'failed' })
    })
  for (const [what, behaviour] of [
    ['drip a byte a second', failures.drips],
    ['flood 64 MB', failures.floods],
    ['break off in the body', failures.resetMidBody],
  ] as const)
    it(`counts the 200 as a success, in bounded time, for receivers that ${what}`, async () => {
      const { delivery } = await expectOutcome(behaviour, 'success')
      expect(delivery.attempts[0]?.duration_ms).to.be.lessThan(30_000)
    })
  it('keeps 4 KiB of a long response and shows that it was cut', async () => {
    const { delivery } = await expectOutcome(failures.floods, 'success')
    expect(delivery.attempts[0]?.response_body).to.equal('x'.repeat(4096))
    expect(delivery.attempts[0]?.response_truncated).to.equal(true)
  })
  it('records a response of NUL bytes and broken UTF-8', async () => {
    const { delivery } = await expectOutcome(failures.brokenText, 'retrying')
    expect(delivery.attempts[0]?.response_body).to.satisfy((text: string) => text.startsWith('ok\u0000\ufffd'))
  })
  it('honours Retry-After in seconds', async () => {
    const { at } = await expectOutcome(failures.retryAfter('1'), 'retrying')
    await waitFor(() => receiver.received(at).length === 2)
    const [first, second] = receiver.received(at)
    expect(second!.at - first!.at).to.be.at.least(1_000)
  })
  it('honours Retry-After as a date', async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString()
    const { delivery } = await expectOutcome(failures.retryAfter(date, 503), 'retrying')
    expect(Date.parse(delivery.next_attempt_at!)).to.be.within(Date.parse(date) - 50, Date.parse(date) + 60_000)
  })
  it('sends again to a receiver whose certificate is not trusted', async () => {
    await subscribe(secure.url('/tls'), 'tls')
    const { attempts } = await expectDelivery(deliveries.api, await post('tls'), 'retrying')
    expect(attempts[0]).to.include({ response_code: null, reason: 'tls_failed' })
  })
  it('sends again to a receiver that refuses connections', async () => {
    await subscribe('http://127.0.0.1:1/', 'refused')
    const { attempts } = await expectDelivery(deliveries.api, await post('refused'), 'retrying')
    expect(attempts[0]?.reason).to.equal('connection_refused')
  })
})
