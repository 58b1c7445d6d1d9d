import { expect } from 'chai'
import { createSender, type Sender } from '../../src/dispatch/send.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import type { Resolution, Resolve } from '../../src/lib/resolve.ts'
import { type DeafHost, startDeafHost } from '../support/deaf-host.ts'
import { type RawReceiver, startRawReceiver } from '../support/raw-receiver.ts'

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'
const local = createAddressPolicy({ allowedSubnets: ['127.0.0.0/8', '::1/128'].map(parseSubnet), allowHttp: false })
const v4 = (address: string) => ({ address, family: 4 }) as const
const v6 = (address: string) => ({ address, family: 6 }) as const

describe('connecting to a receiver', () => {
  const senders: Sender[] = []
  const senderTo = (resolve: Resolve, connectTimeoutMs = 10_000) => {
    const sender = createSender({ policy: local, connectTimeoutMs, requestTimeoutMs: 15_000, userAgent: 'Kolbak/test', resolve })
    senders.push(sender)
    return sender
  }
  const post = (resolution: Resolution, port: number, connectTimeoutMs?: number) =>
    senderTo(async () => resolution, connectTimeoutMs).post(`http://several.test:${port}/`, {}, Buffer.from('{}'))
  const closers: (() => Promise<void>)[] = []
  const deaf = async (host: string, port?: number): Promise<DeafHost> => {
    const started = await startDeafHost(host, port)
    closers.push(started.close)
    return started
  }
  const receiver = async (host: string, port?: number): Promise<RawReceiver> => {
    const started = await startRawReceiver(() => ok, port === undefined ? { host } : { host, port })
    closers.push(started.close)
    return started
  }
  afterEach(async () => {
    await Promise.all(senders.splice(0).map((sender) => sender.close()))
    await Promise.all(closers.splice(0).map((close) => close()))
  })

  it('gives a slow address the whole time, even if another address is dead (RFC 8305)', async () => {
    const slow = await deaf('127.0.0.1')
    await deaf('::1', slow.port)
    const response = post({ addresses: [v6('::1'), v4('127.0.0.1')] }, slow.port)
    setTimeout(slow.listen, 300)
    expect(await response).to.include({ code: 200, reason: null })
    expect((await response).duration_ms).to.be.greaterThan(300)
  })
  for (const [what, dead, good] of [
    ['IPv4', '127.0.0.1', '::1'],
    ['IPv6', '::1', '127.0.0.1'],
  ] as const)
    it(`tries the next address after 250 ms when ${what} is dead, and begins with that address the next time`, async () => {
      const host = await deaf(dead)
      const { requests } = await receiver(good, host.port)
      const sender = senderTo(async () => ({ addresses: [v4('127.0.0.1'), v6('::1')] }))
      const send = () => sender.post(`http://several.test:${host.port}/`, {}, Buffer.from('{}'))
      const responses = []
      for (let i = 0; i < 5; i++) responses.push(await send())
      expect(responses.map(({ code }) => code)).to.deep.equal([200, 200, 200, 200, 200])
      expect(requests.map(({ connection }) => connection)).to.deep.equal([0, 1, 2, 3, 4])
      expect(Math.min(...responses.map(({ duration_ms }) => duration_ms))).to.be.lessThan(240)
    })
  it('tries the next address at once when an address refuses', async () => {
    const { port } = await receiver('127.0.0.1')
    const response = await post({ addresses: [v6('::1'), v4('127.0.0.2'), v4('127.0.0.1')] }, port)
    expect(response.code).to.equal(200)
    expect(response.duration_ms).to.be.lessThan(240)
  })
  it('fails with connect_timeout when no address accepts in time, and with connection_refused when all refuse', async () => {
    const { port } = await deaf('127.0.0.1')
    const lateResult = await post({ addresses: [v4('127.0.0.1'), v6('::1')] }, port, 600)
    expect(lateResult).to.include({
      code: null,
      reason: 'connect_timeout',
      reason_detail: 'The host did not accept the connection within 0.6 s.',
    })
    expect(lateResult.duration_ms).to.be.within(590, 5_000)
    const refusing = await post({ addresses: [v4('127.0.0.1'), v6('::1')] }, 1)
    expect(refusing).to.include({ code: null, reason: 'connection_refused' })
  })
  it('fails with connect_timeout when a name does not resolve in time', async () => {
    const sender = senderTo(() => new Promise(() => undefined), 300)
    const response = await sender.post('https://slow.test/', {}, Buffer.from('{}'))
    expect(response.reason_detail).to.equal('The name of the host did not resolve within 0.3 s.')
  })
  it('also tries the addresses of a family for which DNS responds late', async () => {
    const dead = await deaf('127.0.0.1')
    const goodReceiver = await receiver('::1', dead.port)
    for (const first of [v4('127.0.0.1'), v4('127.0.0.3')]) {
      const lateAddresses = new Promise<ReturnType<typeof v6>[]>((resolve) => setTimeout(resolve, 400, [v6('::1')]))
      expect((await post({ addresses: [first], lateAddresses }, goodReceiver.port)).code).to.equal(200)
    }
  })
  it('does not connect to an address that comes late and is not allowed', async () => {
    const { port } = await deaf('127.0.0.1')
    const lateAddresses = Promise.resolve([v6('fd00::1'), v4('169.254.169.254')])
    expect(await post({ addresses: [v4('127.0.0.1')], lateAddresses }, port, 500)).to.include({ reason: 'connect_timeout' })
  })
  it('uses no proxy', async () => {
    const { requests, origin } = await receiver('127.0.0.1')
    const proxy = await receiver('127.0.0.1')
    const before = { ...process.env }
    Object.assign(process.env, { HTTP_PROXY: proxy.origin, http_proxy: proxy.origin, HTTPS_PROXY: proxy.origin, NODE_USE_ENV_PROXY: '1' })
    try {
      const sender = senderTo(async () => ({ addresses: [v4('127.0.0.1')] }))
      expect((await sender.post(`${origin}/`, {}, Buffer.from('{}'))).code).to.equal(200)
    } finally {
      for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'NODE_USE_ENV_PROXY'])
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
    }
    expect([requests.length, proxy.connections]).to.deep.equal([1, 0])
  })
})
