import { expect } from 'chai'
import { createSender, type Sender } from '../../src/dispatch/send.ts'
import { createHttpClient } from '../../src/http-client/client.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { type RawReaction, type RawReceiver, startRawReceiver, thenFin } from '../support/raw-receiver.ts'
import { waitFor } from '../support/wait-for.ts'

const local = createAddressPolicy({ allowedSubnets: [parseSubnet('127.0.0.0/8')], allowHttp: false })
const responseWith = (code: number, fields = '') => `HTTP/1.1 ${code} x\r\n${fields}content-length: 0\r\n\r\n`
const ok = responseWith(200)
const closes = (bytes: string) => thenFin(bytes)

describe('a connection that may be used again', () => {
  let receiver: RawReceiver
  let sender: Sender
  /** The reaction of the receiver to each request, in the order of their arrival. */
  let script: RawReaction[]
  const post = (body = '{}') => sender.post(`${receiver.origin}/`, {}, Buffer.from(body))
  /** Returns for each request the number of its connection and its own number on that connection. */
  const requestNumbers = () => receiver.requests.map(({ connection, index }) => `${connection}.${index}`)
  beforeEach(async () => {
    script = []
    receiver = await startRawReceiver(() => script.shift() ?? ok)
    sender = createSender({ policy: local, connectTimeoutMs: 10_000, requestTimeoutMs: 15_000, userAgent: 'Kolbak/test' })
  })
  afterEach(async () => {
    await sender.close()
    await receiver.close()
  })

  it('carries one request after another', async () => {
    for (let i = 0; i < 5; i++) expect((await post()).code).to.equal(200)
    expect(requestNumbers()).to.deep.equal(['0.0', '0.1', '0.2', '0.3', '0.4'])
  })
  it('reports the steps of its first request only', async () => {
    const [first, second] = [await post(), await post()]
    expect(first?.timings).to.have.all.keys('dns_ms', 'connect_ms', 'tls_ms', 'first_byte_ms')
    expect(first?.timings).to.include({ dns_ms: null, tls_ms: null })
    expect(second?.timings).to.equal(null)
  })
  it('reports the fields of a response that help to find out what the receiver did, and no others', async () => {
    script = [responseWith(302, 'Location: /a\r\nSet-Cookie: a=1\r\nX-Request-Id: r-1\r\nX-Request-Id: r-2\r\n'), ok]
    expect((await post()).fields).to.deep.equal({ location: '/a', 'x-request-id': 'r-1' })
    expect((await post()).fields).to.equal(null)
  })
  for (const [what, end] of [
    ['a FIN', closes('')],
    ['a reset', ({ socket }: { socket: { resetAndDestroy(): void } }) => socket.resetAndDestroy()],
    ['an unsolicited 408', closes('HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')],
    ['an unsolicited 408 of HTTP/1.0', closes('HTTP/1.0 408 Request Time-out\r\ncache-control: no-cache\r\n\r\n<html>')],
    ['an unsolicited 408 without `connection: close`', closes(responseWith(408))],
  ] as const)
    it(`that ends with ${what} instead of a response is replaced at once, and the request is repeated`, async () => {
      script = [ok, end]
      expect((await post()).code).to.equal(200)
      const { code, reason } = await post('{"second":true}')
      expect({ code, reason }).to.deep.equal({ code: 200, reason: null })
      expect(requestNumbers()).to.deep.equal(['0.0', '0.1', '1.0'])
      expect(receiver.requests[2]?.text).to.equal(receiver.requests[1]?.text)
    })
  it('is not used after it ended while it was idle, with or without a 408', async () => {
    for (const end of ['', responseWith(408, 'connection: close\r\n')]) {
      script = [({ socket }) => socket.write(ok, () => setTimeout(() => socket.end(end), 30))]
      expect((await post()).code).to.equal(200)
      const { socket } = receiver.requests.at(-1)!
      await waitFor(() => socket.destroyed, { what: 'the end of the connection' })
      expect((await post()).code).to.equal(200)
    }
    expect(receiver.requests).to.have.length(4)
  })
  it('is not used after bytes that belong to no request', async () => {
    for (const reply of [
      `${ok}${responseWith(500)}`,
      ({ socket }) => socket.write(ok, () => setTimeout(() => socket.write('x'), 30)),
    ] as RawReaction[]) {
      script = [reply]
      expect((await post()).code).to.equal(200)
      const { socket } = receiver.requests.at(-1)!
      await waitFor(() => socket.destroyed, { what: 'the end of the connection' })
      expect((await post()).code).to.equal(200)
    }
  })
  it('causes no second repetition of a request', async () => {
    script = [ok, closes(''), closes('')]
    await post()
    expect(await post()).to.include({ code: null, reason: 'connection_reset' })
    expect(requestNumbers()).to.deep.equal(['0.0', '0.1', '1.0'])
    script = [ok, closes(responseWith(408)), closes(responseWith(408))]
    await post()
    expect((await post()).code, 'a 408 on a fresh connection is about the request').to.equal(408)
    expect(receiver.requests).to.have.length(6)
  })
  it('causes no repetition after a byte of a response has arrived', async () => {
    for (const begun of ['H', 'HTTP/1.1 100 Continue\r\n\r\n']) {
      script = [ok, closes(begun)]
      await post()
      const before = receiver.requests.length
      expect((await post()).code, begun).to.equal(null)
      expect(receiver.requests).to.have.length(before + 1)
    }
  })
  it('causes no repetition of its first request', async () => {
    script = [closes('')]
    expect(await post()).to.include({ code: null, reason: 'connection_reset' })
    script = [closes(responseWith(408))]
    expect((await post()).code).to.equal(408)
    expect(receiver.requests).to.have.length(2)
  })
  it('gives a repetition only the time that the request has left', async () => {
    const impatient = createSender({ policy: local, connectTimeoutMs: 10_000, requestTimeoutMs: 400, userAgent: 'Kolbak/test' })
    const send = () => impatient.post(`${receiver.origin}/`, {}, Buffer.from('{}'))
    script = [ok, ({ socket }) => setTimeout(() => socket.end(), 200), '']
    await send()
    const { reason, duration_ms } = await send()
    expect(reason).to.equal('timeout')
    expect(duration_ms).to.be.within(390, 10_000)
    await impatient.close()
  })
  it('is not kept when the receiver announces or shows that it closes the connection', async () => {
    for (const reply of [
      responseWith(200, 'connection: close\r\n'),
      responseWith(200, 'connection: x, Close\r\n'),
      responseWith(200, 'keep-alive: timeout=1\r\n'),
      'HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n',
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ]) {
      script = [reply]
      await post()
      const last = receiver.requests.at(-1)!
      await post()
      expect(receiver.requests.at(-1)?.connection, reply).to.not.equal(last.connection)
    }
    script = ['HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n']
    const before = receiver.connections
    await post()
    await post()
    expect(receiver.connections).to.equal(before)
  })
  it('is closed when it has been idle for longer than the receiver allows', async () => {
    script = [responseWith(200, 'keep-alive: timeout=2, max=100\r\n')]
    await post()
    const { socket } = receiver.requests[0]!
    await waitFor(() => socket.destroyed, { what: 'the end of the connection' })
    expect((await post()).code).to.equal(200)
    expect(requestNumbers()).to.deep.equal(['0.0', '1.0'])
  })
  it('is closed when too many connections are idle', async () => {
    const client = createHttpClient({
      policy: local,
      resolve: async () => ({ addresses: [] }),
      connectTimeoutMs: 10_000,
      requestTimeoutMs: 15_000,
      headers: {},
      maxIdle: 3,
    })
    await Promise.all(Array.from({ length: 10 }, () => client.post(`${receiver.origin}/`, {}, Buffer.from('{}'))))
    const open = () => receiver.requests.filter(({ socket }) => !socket.destroyed).length
    await waitFor(() => open() === 3, { what: 'three open connections' })
    await client.close()
    await waitFor(() => open() === 0, { what: 'no open connection' })
  })
  it('ends after its request when the client is closed', async () => {
    script = [({ socket }) => setTimeout(() => socket.write(ok), 200)]
    const response = post()
    await sender.close()
    expect((await response).code).to.equal(200)
    const { socket } = receiver.requests[0]!
    await waitFor(() => socket.destroyed, { what: 'the end of the connection' })
  })
  it('carries requests with the headers that firewalls require', async () => {
    await sender.post(`${receiver.origin}/hook?a=b c#d`, { 'webhook-id': 'evt_1' }, Buffer.from('{"a":1}'))
    expect(receiver.requests[0]?.text).to.equal(
      [
        'POST /hook?a=b%20c HTTP/1.1',
        `Host: 127.0.0.1:${receiver.port}`,
        'Connection: keep-alive',
        'User-Agent: Kolbak/test',
        'Accept: */*',
        'Content-Type: application/json',
        'webhook-id: evt_1',
        'Content-Length: 7',
        '',
        '{"a":1}',
      ].join('\r\n'),
    )
  })
})
