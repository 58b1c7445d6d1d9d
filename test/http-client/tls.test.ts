import { createServer, type Socket } from 'node:net'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { expect } from 'chai'
import { createSender, type Sender } from '../../src/dispatch/send.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { type Authority, type Certificate, createAuthority, selfSigned } from '../support/certificates.ts'
import { type RawReceiver, startRawReceiver } from '../support/raw-receiver.ts'

const localPolicy = createAddressPolicy({ allowedSubnets: [parseSubnet('127.0.0.0/8')], allowHttp: false })
const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'
const asksForClientCertificate = /asks for a client certificate/

describe('TLS to a receiver', () => {
  let authority: Authority
  let goodCertificate: Certificate
  let sender: Sender
  const receivers: RawReceiver[] = []
  const start = async (tls: TlsOptions, onConnection: (socket: Socket) => void = () => undefined) => {
    const receiver = await startRawReceiver(() => ok, { tls, onConnection })
    receivers.push(receiver)
    return receiver
  }
  const post = (host: string, { port }: { port: number }) => sender.post(`https://${host}:${port}/`, {}, Buffer.from('{}'))
  before(() => {
    authority = createAuthority()
    goodCertificate = authority.issue(['DNS:good.test', 'IP:127.0.0.1'])
  })
  beforeEach(() => {
    sender = createSender({
      policy: localPolicy,
      connectTimeoutMs: 10_000,
      requestTimeoutMs: 15_000,
      userAgent: 'Kolbak/test',
      resolve: async () => ({ addresses: [{ address: '127.0.0.1', family: 4 }] }),
      ca: authority.cert,
    })
  })
  afterEach(async () => {
    await sender.close()
    await Promise.all(receivers.splice(0).map((receiver) => receiver.close()))
  })

  it('sends the name in SNI without a trailing dot, and sends no SNI for an address', async () => {
    const names: unknown[] = []
    const receiver = await start(goodCertificate, (socket) => names.push((socket as TLSSocket).servername))
    for (const host of ['good.test', 'good.test.', 'GOOD.test', '127.0.0.1'])
      expect(await post(host, receiver), host).to.include({ code: 200 })
    expect(names).to.deep.equal(['good.test', 'good.test', 'good.test', false])
    expect(receiver.requests.map(({ text }) => /^Host: (\S+):\d+\r$/m.exec(text)?.[1])).to.deep.equal([
      'good.test',
      'good.test.',
      'good.test',
      '127.0.0.1',
    ])
  })
  it('resumes the TLS session on each further connection', async () => {
    const resumed: boolean[] = []
    const receiver = await start(goodCertificate, (socket) => resumed.push((socket as TLSSocket).isSessionReused()))
    for (let i = 0; i < 3; i++) expect((await post('good.test', receiver)).code).to.equal(200)
    expect(resumed).to.deep.equal([false, true, true])
  })
  it('trusts an intermediate certificate that the host sends', async () => {
    expect((await post('good.test', await start(authority.issueAuthority().issue(['DNS:good.test'])))).code).to.equal(200)
  })

  const faults: Record<string, readonly [detail: RegExp, options: () => TlsOptions]> = {
    'an expired certificate': [/has expired/, () => authority.issue(['DNS:good.test'], -1)],
    'a certificate for another name': [/other names/, () => authority.issue(['DNS:other.test'])],
    'a self-signed certificate': [/self-signed/, selfSigned],
    'an unknown issuer': [/issuer of the certificate is unknown/, () => createAuthority().issueAuthority().issue(['DNS:good.test'])],
    'an unknown root certificate, even if the host sends it': [
      /issuer of the certificate is unknown/,
      () => {
        const other = createAuthority()
        const { key, cert } = other.issue(['DNS:good.test'])
        return { key, cert: cert + other.cert }
      },
    ],
    'a missing intermediate certificate': [
      /intermediate certificate is missing/,
      () => {
        const { key, cert } = authority.issueAuthority().issue(['DNS:good.test'])
        return { key, cert: cert.slice(0, cert.indexOf('-----END CERTIFICATE-----') + 26) }
      },
    ],
    'an old protocol': [
      /no protocol version that is still safe/,
      () => ({ ...goodCertificate, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
    ],
    'a cipher that is not offered': [
      /none of the offered ciphers/,
      () => ({ ...goodCertificate, maxVersion: 'TLSv1.2', ciphers: 'NULL-SHA256:@SECLEVEL=0:ECDHE-ECDSA-NULL-SHA' }),
    ],
    'a request for a client certificate (TLS 1.3)': [
      asksForClientCertificate,
      () => ({ ...goodCertificate, requestCert: true, rejectUnauthorized: true, ca: authority.cert }),
    ],
    'a request for a client certificate (TLS 1.2)': [
      asksForClientCertificate,
      () => ({ ...goodCertificate, requestCert: true, rejectUnauthorized: true, ca: authority.cert, maxVersion: 'TLSv1.2' }),
    ],
  }
  for (const [what, [detail, options]] of Object.entries(faults))
    it(`fails because of ${what}, and says so`, async () => {
      const receiver = await start(options())
      const { code, reason, reason_detail } = await post('good.test', receiver)
      expect([code, reason, reason_detail]).to.deep.equal([null, 'tls_failed', reason_detail])
      expect(reason_detail).to.match(detail).and.not.contain('127.0.0.1')
      expect(receiver.requests).to.have.length(0)
    })
  it('fails for a port with another protocol, and says so', async () => {
    const plain = await startRawReceiver(() => ok, { onConnection: (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n') })
    receivers.push(plain)
    expect(await post('good.test', plain)).to.include({ reason: 'tls_failed', reason_detail: 'The host does not speak TLS on this port.' })
  })
  it('fails when the host closes the connection during the handshake, or never completes the handshake', async () => {
    const sockets: Socket[] = []
    let react = (socket: Socket) => void socket.destroy()
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => undefined)
      socket.once('data', () => react(socket))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address() as { port: number }
    expect(await post('good.test', address)).to.include({
      reason: 'connection_reset',
      reason_detail: 'The host closed the connection during the TLS handshake.',
    })
    react = () => undefined
    const impatient = createSender({ policy: localPolicy, connectTimeoutMs: 300, requestTimeoutMs: 15_000, userAgent: 'Kolbak/test' })
    expect(await impatient.post(`https://127.0.0.1:${address.port}/`, {}, Buffer.from('{}'))).to.include({
      reason: 'connect_timeout',
      reason_detail: 'The TLS handshake did not end within 0.3 s.',
    })
    await impatient.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  it('checks certificates even if NODE_TLS_REJECT_UNAUTHORIZED is 0', async () => {
    const former = process.env.NODE_TLS_REJECT_UNAUTHORIZED
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    try {
      expect(await post('good.test', await start(selfSigned()))).to.include({ code: null, reason: 'tls_failed' })
    } finally {
      if (former === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
      else process.env.NODE_TLS_REJECT_UNAUTHORIZED = former
    }
  })
})
