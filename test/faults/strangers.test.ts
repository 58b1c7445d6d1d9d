import { connect } from 'node:net'
import { expect } from 'chai'
import { type Client, clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

interface Refused {
  error: { code: string; details?: { path: string }[] }
}

describe('untrusted callers of a running service', () => {
  const { service, receiver } = withService()
  let api: Client
  let secret: string

  before(async () => {
    api = await clientOf(service.url)
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/all'), event: '*' })
    secret = webhook.secret
    receiver.verify('/all', secret)
  })
  const expectRequest = (id: string) => waitFor(() => receiver.received('/all').find((request) => request.body.id === id))
  const post = (body: string | object) => api.call<Refused>('POST', '/v1/events', body)

  /** Sends the bytes unchanged, and reads until the service closes the connection. */
  const raw = (...headers: readonly string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const { port } = new URL(service.url)
      const socket = connect(Number(port), '127.0.0.1')
      let response = ''
      socket.on('data', (chunk) => {
        response += chunk.toString('latin1')
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(response))
      const head = ['GET /v1/keys HTTP/1.1', 'host: x', 'connection: close', `authorization: Bearer ${api.token}`, ...headers]
      socket.write(Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'))
    })

  describe('cannot add a header', () => {
    for (const ends of ['\r\nx-evil: 1', '\n', '\r', '\0', '\u2028', '\u560d\u560ax-evil: 1', '\t', ' ', '\u00ff', '\u2603'])
      it(`by an event's id with ${JSON.stringify(ends)}`, async () => {
        const refused = await post({ id: `a${ends}`, event: 'header.id', payload: {} })
        expect([refused.status, refused.body.error.code]).to.deep.equal([422, 'validation_failed'])
        expect(refused.body.error.details?.map(({ path }) => path)).to.deep.equal(['id'])
        const batch = await api.call<Refused>('POST', '/v1/events/batch', { events: [{ id: `a${ends}`, event: 'header.id', payload: {} }] })
        expect(batch.status).to.equal(422)
      })
    it('by a request id, an idempotency key or an origin', async () => {
      for (const header of [
        'x-request-id: a\rx-evil: 1',
        'x-request-id: a\0b',
        'x-request-id: a\tb',
        'x-request-id: a\x0bx-evil: 1',
        'x-request-id: \xe5\x98\x8d\xe5\x98\x8ax-evil: 1',
        'x-request-id: a%0d%0ax-evil: 1',
        'x-request-id: a\r\nx-request-id: b',
        'x-request-id: a\r\n x-evil: 1',
        'origin: http://evil\r\nx-forwarded-host: evil\r\nx-forwarded-for: 1.2.3.4, \xff',
      ]) {
        const head = (await raw(header)).split('\r\n\r\n')[0] ?? ''
        expect(head.match(/HTTP\/1\.1 (?:200|400)/g), JSON.stringify(header)).to.have.length(1)
        expect(head).to.not.match(/evil/i)
        const [, id] = /^x-request-id: (.*)$/im.exec(head) ?? []
        expect(id?.trimEnd()).to.match(/^[0-9A-HJKMNP-TV-Z]{26}$/)
      }
      const webhook = { callback_url: receiver.url('/key'), event: 'none' }
      for (const key of ['a b', '\t', 'a\u00ffb', '', 'x'.repeat(256)]) {
        const refused = await api.call<Refused>('POST', '/v1/webhooks', webhook, { 'idempotency-key': key })
        expect([refused.status, refused.body.error.code], JSON.stringify(key)).to.deep.equal([400, 'invalid_request'])
      }
    })
    it('by a callback URL, in which line breaks are removed or escaped', async () => {
      const urls = ['/line\r\nx-evil: 1', '/line%0d%0ax-evil:%201', '/line?a=%0D%0A%0D%0APOST%20/evil', '/line\u560d\u560ax-evil: 1']
      const event = 'header.url'
      for (const url of urls) {
        const created = await api.call<WebhookResponse>('POST', '/v1/webhooks', { callback_url: receiver.origin + url, event })
        expect(created.status, JSON.stringify(url)).to.be.oneOf([201, 422])
      }
      await post({ id: 'url_1', event, payload: {} })
      await expectRequest('url_1')
      const deliveries = await waitFor(async () => {
        const { data } = await api.get<Page<DeliveryResponse>>('/v1/events/url_1/deliveries?limit=100')
        return data.length > 1 && data.every(({ status }) => status === 'success') ? data : undefined
      })
      const came = receiver.received().filter(({ body, path }) => body.id === 'url_1' && path !== '/all')
      expect(came).to.have.length(deliveries.length - 1)
      for (const { path, headers } of came) {
        expect(path).to.match(/^\/line[!-~]*$/)
        expect(headers).to.not.have.property('x-evil')
        expect(headers['webhook-id']).to.equal('url_1')
      }
    })
  })

  it('cannot change a prototype: names such as __proto__ are unknown fields, and arrive unchanged in a payload', async () => {
    const names = ['__proto__', 'constructor', 'prototype', 'hasOwnProperty', 'toString', 'toJSON', 'then']
    for (const name of names)
      for (const value of ['{"polluted":1}', '{"prototype":{"polluted":1}}', '[]', 'null', '1']) {
        const stray = `"${name}":${value}`
        const refused = [
          await post(`{"event":"polluted","payload":{},${stray}}`),
          await api.call<Refused>('POST', '/v1/keys', `{"name":"x","scopes":["read:webhooks"],${stray}}`),
          await api.call<Refused>('POST', '/v1/webhooks', `{"callback_url":"${receiver.url('/x')}","event":"x",${stray}}`),
          await api.call<Refused>('POST', '/v1/tenants', `{"name":"x","limits":{${stray}}}`),
          await api.call<Refused>('GET', `/v1/webhooks?${name}=1`),
          await api.call<Refused>('GET', `/v1/webhooks?${name}[polluted]=1`),
          await api.call<Refused>('GET', `/v1/keys?limit[${name}]=1`),
        ]
        for (const { status } of refused) expect(status, stray).to.equal(422)
        const token = await fetch(`${service.url}/v1/auth`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: `{"grant_type":"client_credentials",${stray}}`,
        })
        expect(token.status).to.equal(401)
      }
    const payload = `{${names.map((name) => `"${name}":{"polluted":1}`).join(',')},"__proto__":{"scopes":["admin"]}}`
    expect((await post(`{"id":"proto_1","event":"polluted","payload":${payload}}`)).status).to.equal(202)
    const request = await expectRequest('proto_1')
    expect(request.raw.endsWith(`"payload":${payload}}`)).to.equal(true)
    expect(request.verified).to.equal(true)
    const { data } = await api.get<{ data: object }>('/v1/events/proto_1')
    expect(Object.keys(data)).to.include('payload').and.not.include('polluted')
  })

  it('can nest 128 levels in a payload, which arrive byte for byte, and cannot nest 100,000 levels anywhere', async () => {
    const nest = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
    const [allowed, deep] = [nest(127), nest(100_000)]
    expect((await post(`{"id":"deep_1","event":"deep","payload":{"a":${allowed}}}`)).status).to.equal(202)
    const batch = await api.call('POST', '/v1/events/batch', `{"events":[{"id":"deep_2","event":"deep","payload":{"a":${allowed}}}]}`)
    expect(batch.status).to.equal(202)
    for (const id of ['deep_1', 'deep_2']) {
      const request = await expectRequest(id)
      expect(request.raw.endsWith(`"payload":{"a":${allowed}}}`), id).to.equal(true)
      const read = await fetch(`${service.url}/v1/events/${id}`, { headers: { authorization: `Bearer ${api.token}` } })
      expect(read.status).to.equal(200)
      expect(await read.text()).to.include(allowed)
    }
    const members = `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`
    for (const badBody of [deep, nest(30_000), members, deep.slice(0, 60_000)])
      for (const [path, body] of [
        ['/v1/keys', `{"name":"x","scopes":[${badBody},1]}`],
        ['/v1/keys', `{"name":${badBody},"scopes":["read:webhooks"]}`],
        ['/v1/webhooks', `{"callback_url":"${receiver.url('/x')}","event":"x","retry_delays":${badBody}}`],
        ['/v1/events', `{"event":"deep","payload":{"a":${badBody}}}`],
        ['/v1/events/batch', `{"events":[{"event":"deep","payload":{"a":${badBody}}}]}`],
        ['/v1/events', badBody],
        ['/v1/auth', badBody],
      ] as const) {
        const refused = await api.call('POST', path, body, path === '/v1/auth' ? { authorization: '' } : {})
        expect(refused.status, `${path} ${body.slice(0, 40)}`).to.be.within(400, 422)
      }
    // The list has two equal deep values, which a check for uniqueness must compare at all levels.
    const nestedTwice = `${'['.repeat(15_000)}${']'.repeat(15_000)}`
    expect((await api.call('POST', '/v1/keys', `{"name":"x","scopes":[${nestedTwice},${nestedTwice}]}`)).status).to.equal(422)
  })

  it('get a 413 for a body that is too large, and the service continues', async () => {
    const large = 'x'.repeat(8 << 20)
    for (const path of ['/v1/events', '/v1/events/batch', '/v1/keys', '/v1/webhooks', '/v1/auth']) {
      // The service may refuse a request before it has read it, so the connection may break.
      const refused = await api.call('POST', path, `{"name":"${large}"}`).catch(() => null)
      if (refused !== null) expect(refused.status, path).to.equal(413)
    }
    const many = `{"event":"many","payload":{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join(',')}}}`
    expect((await post(many)).status).to.equal(202)
    await post({ id: 'after_1', event: 'after', payload: {} })
    await expectRequest('after_1')
    expect(service.logLines.filter((line) => line.level === 50).map((line) => line.msg)).to.deep.equal([])
    expect(service.child.exitCode).to.equal(null)
  })

  it('cannot create or change a webhook with an address that is not public, in any form', async () => {
    const { id } = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/mine'), event: 'none' })
    for (const host of [
      ...['10.0.0.1', '172.16.0.1', '192.168.0.1', '169.254.169.254', '100.64.0.1', '224.0.0.1', '255.255.255.255', '0.0.0.0', '0'],
      ...['2852039166', '0251.0376.0251.0376', '0xa9fea9fe', '169.254.43518', '[::]', '[fe80::1]', '[fc00::1]', '[ff02::1]'],
      ...[
        '[::ffff:10.0.0.1]',
        '[::ffff:a9fe:a9fe]',
        '[::169.254.169.254]',
        '[64:ff9b::a9fe:a9fe]',
        '[64:ff9b:1::a00:1]',
        '[2002:a9fe:a9fe::1]',
      ],
      ...['[2001:0:4136:e378:8000:63bf:5601:5601]', '[fd00:ec2::254]', '１６９.254.169.254', '169。254。169。254', '%31%30.0.0.1'],
    ])
      for (const scheme of ['https', 'http']) {
        const callback_url = `${scheme}://${host}/`
        for (const refused of [
          await api.call<Refused>('POST', '/v1/webhooks', { callback_url, event: 'none' }),
          await api.call<Refused>('PATCH', `/v1/webhooks/${id}`, { callback_url }),
        ]) {
          expect(refused.status, callback_url).to.equal(422)
          expect(refused.body.error.details?.map(({ path }) => path)).to.deep.equal(['callback_url'])
        }
      }
    expect((await api.get<WebhookResponse>(`/v1/webhooks/${id}`)).callback_url).to.equal(receiver.url('/mine'))
  })
})
