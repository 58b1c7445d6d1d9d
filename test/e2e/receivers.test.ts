import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { selfSigned } from '../support/certificates.ts'
import { expectDelivery } from '../support/expectations.ts'
import { runProgram } from '../support/programs.ts'
import { type RawReaction, type RawReceiver, startRawReceiver, thenFin } from '../support/raw-receiver.ts'
import { admin } from '../support/service.ts'
import { withDeliveries } from './deliveries.ts'

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'
const text = '{"error":"größer als erlaubt"}'
const zipped = gzipSync(text)

/** Unusual responses that every common HTTP client accepts. `test/http-client` has the whole table. */
const accepted: Record<string, RawReaction> = {
  'sends a 100 Continue that was not requested': `HTTP/1.1 100 Continue\r\n\r\n${ok}`,
  'folds a field': 'HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n',
  'ends lines with LF only': ok.replaceAll('\r\n', '\n'),
  'sends its length twice': 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n',
  'sends a line that is not a header field': 'HTTP/1.1 200 OK\r\nno field\r\ncontent-length: 0\r\n\r\n',
  'never ends its body': 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok',
  'closes the connection in the middle of its head': thenFin('HTTP/1.1 200 OK\r\ncontent-le'),
}

describe('receivers, end to end', () => {
  const deliveries = withDeliveries()
  const { service, path, subscribe, post } = deliveries
  const responses = new Map<string, RawReaction>()
  let receiver: RawReceiver
  before(async () => {
    receiver = await startRawReceiver(({ path }) => responses.get(path) ?? ok)
  })
  after(() => receiver.close())
  const requestsTo = (at: string) => receiver.requests.filter((request) => request.path === at)
  const deliver = async (response: RawReaction, status: string, url = receiver.origin) => {
    const at = path()
    responses.set(at, response)
    const webhook = await subscribe(`${url}${at}`, `case${at.replace('/', '.')}`, { retry_delays: [3_600] })
    return { at, webhook, delivery: await expectDelivery(deliveries.api, await post(webhook.event), status) }
  }

  for (const [what, response] of Object.entries(accepted))
    it(`get one request, which succeeds, when the receiver ${what}`, async () => {
      const { at, delivery } = await deliver(response, 'success')
      expect(delivery.attempts.map(({ response_code, reason, reason_detail }) => [response_code, reason, reason_detail])).to.deep.equal([
        [200, null, null],
      ])
      expect(requestsTo(at)).to.have.length(1)
    })
  it('get a request again at once, within the same attempt, when they close an idle connection', async () => {
    const [first, second] = [path(), path()]
    responses.set(first, 'HTTP/1.1 200 OK\r\nkeep-alive: timeout=60\r\ncontent-length: 0\r\n\r\n')
    responses.set(second, ({ index, socket }) =>
      index === 0 ? socket.write(ok) : socket.end('HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n'),
    )
    await subscribe(receiver.origin + first, 'kept.first')
    await subscribe(receiver.origin + second, 'kept.second')
    await expectDelivery(deliveries.api, await post('kept.first'), 'success')
    const { attempts } = await expectDelivery(deliveries.api, await post('kept.second'), 'success')
    expect(attempts).to.have.length(1)
    expect(requestsTo(second).map(({ index }) => index)).to.deep.equal([1, 0])
  })
  it('appear in the history with a sentence about the failure', async () => {
    const greeting = await deliver(thenFin('SSH-2.0-OpenSSH_9.6\r\n'), 'retrying')
    expect(greeting.delivery.attempts[0]).to.include({
      response_code: null,
      reason: 'invalid_response',
      reason_detail: 'The receiver speaks SSH and not HTTP.',
    })
    const tls = await startRawReceiver(() => ok, { tls: selfSigned() })
    const { delivery } = await deliver(ok, 'retrying', tls.origin)
    expect(delivery.attempts[0]).to.include({
      reason: 'tls_failed',
      reason_detail: 'The certificate is self-signed, so its issuer is unknown.',
    })
    await tls.close()
    const credentials = { KOLBAK_CLIENT_ID: admin.id, KOLBAK_CLIENT_SECRET: admin.secret }
    const trace = await runProgram('cli/kolbak.ts', ['trace', greeting.delivery.event_id], { KOLBAK_URL: service.url, ...credentials })
    expect(trace.out).to.match(/failed invalid_response .*\n +The receiver speaks SSH and not HTTP\./)
  })
  it('appear in the history with readable text, even if the response is compressed or has another charset', async () => {
    const head = (fields: string, length: number) => Buffer.from(`HTTP/1.1 500 x\r\n${fields}content-length: ${length}\r\n\r\n`)
    const latin1 = Buffer.from(text, 'latin1')
    for (const response of [
      Buffer.concat([head('content-encoding: gzip\r\n', zipped.length), zipped]),
      Buffer.concat([head('content-type: application/json; charset=iso-8859-1\r\n', latin1.length), latin1]),
    ]) {
      const { delivery } = await deliver(response, 'retrying')
      expect(delivery.attempts[0]).to.include({ reason: 'http_500', reason_detail: null, response_body: text })
    }
  })
  it('get requests with the header Accept, because some firewalls require it', async () => {
    const { at } = await deliver(ok, 'success')
    expect(requestsTo(at)[0]?.text).to.match(/^Accept: \*\/\*\r$/m)
  })
})
