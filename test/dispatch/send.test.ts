import { expect } from 'chai'
import { createSender, type Sender } from '../../src/dispatch/send.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { failures, type Receiver, startReceiver } from '../support/receiver.ts'

const options = { connectTimeoutMs: 10_000, requestTimeoutMs: 2_000, userAgent: 'Kolbak/test' }
const local = createAddressPolicy({ allowedSubnets: ['127.0.0.0/8', '::1/128'].map(parseSubnet), allowHttp: false })

describe('sending a request', () => {
  let receiver: Receiver
  let secure: Receiver
  let send: Sender
  const post = (url: string) => send.post(url, { 'webhook-id': 'evt_1' }, Buffer.from('{"id":"evt_1"}'))

  before(async () => {
    ;[receiver, secure] = await Promise.all([startReceiver(), startReceiver({ tls: true })])
    send = createSender({ ...options, policy: local })
  })
  after(async () => {
    await Promise.all([receiver.close(), secure.close()])
    await send.close()
  })

  it('POSTs the bytes with their headers, and returns the status, the address and the beginning of the response', async () => {
    receiver.setResponse('/ok', (_request, response) => response.writeHead(201).end('thanks'))
    const reply = await post(receiver.url('/ok'))
    expect(reply).to.include({ code: 201, reason: null, address: '127.0.0.1' })
    expect(reply.body.toString()).to.equal('thanks')
    const [request] = receiver.received('/ok')
    expect(request?.raw).to.equal('{"id":"evt_1"}')
    expect(request?.headers).to.include({ 'content-type': 'application/json', 'user-agent': 'Kolbak/test', 'webhook-id': 'evt_1' })
  })
  it('keeps 4 KiB of a response of 64 MB, and cuts the rest', async () => {
    receiver.setResponse('/flood', failures.floods)
    const reply = await post(receiver.url('/flood'))
    expect(reply.code).to.equal(200)
    expect(reply.body).to.have.length(4096)
    expect(reply.duration_ms).to.be.lessThan(options.requestTimeoutMs)
  })
  it('keeps NUL bytes and broken UTF-8 unchanged', async () => {
    receiver.setResponse('/broken', failures.brokenText)
    const reply = await post(receiver.url('/broken'))
    expect(reply.body).to.deep.equal(Buffer.from([0x6f, 0x6b, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80]))
  })
  it('gives up on a receiver that hangs', async () => {
    receiver.setResponse('/hang', failures.hangs)
    const reply = await post(receiver.url('/hang'))
    expect(reply).to.include({ code: null, reason: 'timeout' })
    expect(reply.duration_ms).to.be.within(1_900, 30_000)
  })
  it('ends a second after the head when the body comes too slowly, with the status that has arrived', async () => {
    receiver.setResponse('/drip', failures.drips)
    const patient = createSender({ ...options, requestTimeoutMs: 60_000, policy: local })
    const reply = await patient.post(receiver.url('/drip'), {}, Buffer.from('{"id":"evt_1"}'))
    expect(reply.code).to.equal(200)
    expect(reply.duration_ms).to.be.within(990, 30_000)
    await patient.close()
  })
  it('counts the status of a response whose body is cut off', async () => {
    receiver.setResponse('/mid', failures.resetMidBody)
    expect(await post(receiver.url('/mid'))).to.include({ code: 200, reason: null })
  })
  it('does not follow redirects', async () => {
    receiver.setResponse('/redirect', failures.redirects)
    expect((await post(receiver.url('/redirect'))).code).to.equal(302)
  })
  it('does not follow redirects to addresses that are not public, or to the receiver itself', async () => {
    for (const code of [301, 302, 303, 307, 308])
      for (const location of [
        'http://169.254.169.254/latest/meta-data/',
        receiver.url('/secret'),
        '//127.0.0.1/',
        '/secret',
        'file:///etc/passwd',
      ]) {
        receiver.setResponse('/elsewhere', (_request, response) =>
          response.writeHead(code, { location, refresh: `0; url=${location}` }).end(),
        )
        expect((await post(receiver.url('/elsewhere'))).code).to.equal(code)
      }
    expect(receiver.received('/secret')).to.have.length(0)
  })
  it('sends no additional header or request, whatever the URL contains', async () => {
    const before = receiver.received().length
    for (const path of [
      '/crlf\r\nx-evil: 1',
      '/crlf%0d%0ax-evil:%201',
      '/crlf?a=\r\n\r\nPOST /evil HTTP/1.1',
      '/crlf\u560d\u560ax-evil: 1',
      '/crlf#\r\nx',
    ])
      expect((await post(receiver.origin + path)).code, path).to.equal(200)
    const came = receiver.received().slice(before)
    expect(came).to.have.length(5)
    for (const { path, headers } of came) {
      expect(path).to.match(/^\/crlf[!-~]*$/)
      expect(headers).to.not.have.property('x-evil')
      expect(headers.host).to.equal(new URL(receiver.origin).host)
    }
  })
  it('sends no additional header, whatever a header value contains', async () => {
    for (const id of ['a\r\nx-evil: 1', 'a\n', 'a\0', '\u2603', 'a\u560a']) {
      const before = receiver.received().length
      const reply = await send.post(receiver.url('/header'), { 'webhook-id': id }, Buffer.from('{}'))
      expect(reply.code, JSON.stringify(id)).to.equal(null)
      expect(receiver.received()).to.have.length(before)
    }
    expect((await post(receiver.url('/header'))).code).to.equal(200)
  })
  it('returns Retry-After', async () => {
    receiver.setResponse('/later', failures.retryAfter('7'))
    expect(await post(receiver.url('/later'))).to.include({ code: 429, retryAfter: '7' })
  })
  for (const [what, behaviour, reason] of [
    ['a reset before the response', failures.resetBeforeResponse, 'connection_reset'],
    ['a response that is not HTTP', failures.notHttp, 'invalid_response'],
  ] as const)
    it(`returns ${reason} for ${what}`, async () => {
      receiver.setResponse(`/${reason}`, behaviour)
      expect(await post(receiver.url(`/${reason}`))).to.include({ code: null, reason })
    })
  it('returns connection_refused for a port without a listener', async () => {
    expect(await post('http://127.0.0.1:1/')).to.include({ code: null, reason: 'connection_refused', address: null })
  })
  it('returns dns_failed for a name that does not exist', async () => {
    expect(await post('https://does-not-exist.invalid/')).to.include({ code: null, reason: 'dns_failed' })
  })
  it('returns tls_failed for a certificate that is not trusted', async () => {
    expect(await post(secure.url('/'))).to.include({ code: null, reason: 'tls_failed' })
    expect(secure.received()).to.have.length(0)
  })
  it('returns tls_failed or invalid_response for https to a plain port', async () => {
    const reply = await post(receiver.url('/plain').replace('http:', 'https:'))
    expect(reply.reason).to.be.oneOf(['tls_failed', 'connection_reset'])
  })

  describe('to addresses that are not public', () => {
    let strict: Sender
    before(() => {
      strict = createSender({ ...options, policy: createAddressPolicy({ allowedSubnets: [], allowHttp: true }) })
    })
    after(() => strict.close())
    const port = () => new URL(receiver.origin).port
    for (const host of [
      '127.0.0.1',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0x7f000001',
      '2130706433',
      'localhost',
      '0.0.0.0',
      '169.254.169.254',
      '10.0.0.1',
      '172.16.0.1',
      '192.168.0.1',
      '100.64.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '127.1',
      '0177.0.0.1',
      '0xa9.0xfe.0xa9.0xfe',
      '2852039166',
      '0251.0376.0251.0376',
      '[::]',
      '[::127.0.0.1]',
      '[::ffff:a9fe:a9fe]',
      '[64:ff9b::7f00:1]',
      '[64:ff9b:1::7f00:1]',
      '[2002:7f00:1::1]',
      '[2001:0:4136:e378:8000:63bf:80ff:fffe]',
      '[fc00::1]',
      '[fe80::1]',
      '[ff02::1]',
      '[fd00:ec2::254]',
    ])
      it(`refuses ${host} without a connection`, async () => {
        const before = receiver.received().length
        const reply = await strict.post(`http://${host}:${port()}/ssrf`, {}, Buffer.from('{}'))
        expect(reply).to.include({ code: null, reason: 'address_refused' })
        expect(receiver.received()).to.have.length(before)
      })
  })
  it('refuses a name if any of its addresses is not public', async () => {
    const mixed = createSender({
      ...options,
      policy: createAddressPolicy({ allowedSubnets: [], allowHttp: true }),
      resolve: async () => ({
        addresses: [
          { address: '93.184.216.34', family: 4 },
          { address: '10.0.0.7', family: 4 },
        ],
      }),
    })
    const reply = await mixed.post('http://mixed.example/', {}, Buffer.from('{}'))
    expect(reply.reason).to.equal('address_refused')
    await mixed.close()
  })
  it('refuses a name that resolves to an address that is refused in a URL', async () => {
    for (const [address, family] of [
      ['127.0.0.1', 4],
      ['169.254.169.254', 4],
      ['10.0.0.7', 4],
      ['100.64.0.1', 4],
      ['0.0.0.0', 4],
      ['224.0.0.1', 4],
      ['255.255.255.255', 4],
      ['::1', 6],
      ['::ffff:127.0.0.1', 6],
      ['64:ff9b::7f00:1', 6],
      ['2002:7f00:1::1', 6],
      ['2001:0:4136:e378:8000:63bf:80ff:fffe', 6],
      ['fd12:3456::1', 6],
      ['fe80::1%lo', 6],
      ['rubbish', 4],
    ] as const) {
      const policy = createAddressPolicy({ allowedSubnets: [], allowHttp: true })
      const named = createSender({ ...options, policy, resolve: async () => ({ addresses: [{ address, family }] }) })
      for (const scheme of ['http', 'https'])
        expect((await named.post(`${scheme}://named.example/`, {}, Buffer.from('{}'))).reason, address).to.equal('address_refused')
      await named.close()
    }
  })
  it('connects only to the address that was checked, even if a name changes (DNS rebinding)', async () => {
    // The first query of the name returns an allowed address, and every later query another address.
    const resolvedHosts: string[] = []
    const addresses = ['127.0.0.1', '10.0.0.7', '127.0.0.1', '169.254.169.254']
    const rebound = createSender({
      ...options,
      policy: local,
      resolve: async (host) => {
        resolvedHosts.push(host)
        return { addresses: [{ address: addresses[(resolvedHosts.length - 1) % addresses.length] ?? '', family: 4 }] }
      },
    })
    receiver.setResponse('/rebound', failures.closesAfterwards)
    const url = receiver.url('/rebound').replace('127.0.0.1', 'rebound.example')
    const outcomes: (number | string | null)[] = []
    for (let i = 0; i < 4; i++) {
      const reply = await rebound.post(url, {}, Buffer.from('{}'))
      outcomes.push(reply.code ?? reply.reason)
    }
    expect(outcomes).to.deep.equal([200, 'address_refused', 200, 'address_refused'])
    expect(resolvedHosts).to.have.length(4)
    await rebound.close()
  })
  it('checks the address to which a name resolves at the time of the request', async () => {
    let address = '127.0.0.1'
    const changing = createSender({ ...options, policy: local, resolve: async () => ({ addresses: [{ address, family: 4 }] }) })
    receiver.setResponse('/named', failures.closesAfterwards)
    const url = receiver.url('/named').replace('127.0.0.1', 'named.example')
    expect((await changing.post(url, {}, Buffer.from('{}'))).code).to.equal(200)
    address = '10.0.0.7'
    const other = url.replace('named.', 'other.')
    expect((await changing.post(other, {}, Buffer.from('{}'))).reason).to.equal('address_refused')
    await changing.close()
  })
  it('sends plain http only to allowed subnets, unless plain http is allowed everywhere', async () => {
    const publicOnly = createSender({ ...options, policy: { allows: () => true, allowsPlainHttp: () => false } })
    const reply = await publicOnly.post(receiver.url('/http'), {}, Buffer.from('{}'))
    expect(reply.reason).to.equal('address_refused')
    await publicOnly.close()
  })
})
