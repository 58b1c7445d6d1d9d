import { request } from 'node:http'
import { connect } from 'node:net'
import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

describe('HTTP', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi({ settings: { slowRequestMs: 400 } })
    admin = await api.tenant()
  })
  after(() => api.stop())

  /** Sends bytes as they are and reads until the server closes. */
  const raw = (...parts: readonly string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(api.port, '127.0.0.1')
      let answer = ''
      socket.on('data', (chunk) => {
        answer += chunk
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(answer))
      for (const part of parts) socket.write(part)
    })
  const bodyOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))

  describe('request ids', () => {
    it("are the caller's when they are sane, and stand in the log", async () => {
      const answer = await api.call('GET', '/v1/keys', { as: admin, headers: { 'x-request-id': 'mine:1_2.3-4' } })
      expect(answer.headers.get('x-request-id')).to.equal('mine:1_2.3-4')
      const line = api.log.lines.find((candidate) => candidate.includes('mine:1_2.3-4'))
      expect(JSON.parse(line ?? '{}')).to.include({
        message: 'http.request',
        operation: 'listKeys',
        status: 200,
        tenant: admin.tenant,
        actor: `client:${admin.clientId}`,
      })
    })
    for (const given of ['x'.repeat(129), 'a b', '<script>', 'ü'])
      it(`are new when the caller's is ${JSON.stringify(given.slice(0, 10))}`, async () => {
        const answer = await api.call('GET', '/v1/keys', { as: admin, headers: { 'x-request-id': Buffer.from(given).toString('latin1') } })
        expect(answer.headers.get('x-request-id')).to.match(/^[0-9a-f]{8}-[0-9a-f-]{27}$/)
      })
    it('stand in every answer, refused ones and unknown paths included', async () => {
      for (const path of ['/', '/v1/nothing', '/v1/keys/%ff', '/health/live', '/openapi.json'])
        expect((await api.call('GET', path)).headers.get('x-request-id'), path).to.not.equal(null)
    })
  })

  describe('404', () => {
    for (const path of ['/', '/v1', '/v1/nothing', '/v1/keys/a/b', '/V1/keys', '/v1/Keys', '/v2/keys', '//v1/keys'])
      it(`for ${path}, in the envelope`, async () => {
        const answer = await api.call('GET', path)
        expect(answer.status).to.equal(404)
        expect(answer.get('error.code')).to.equal('not_found')
      })
  })
  describe('405', () => {
    for (const [method, path, allow] of [
      ['PUT', '/v1/keys', 'GET, HEAD, POST'],
      ['DELETE', '/v1/keys', 'GET, HEAD, POST'],
      ['POST', '/v1/keys/x', 'GET, HEAD, PATCH, DELETE'],
      ['GET', '/v1/deliveries/x/replay', 'POST'],
      ['DELETE', '/v1/events', 'POST, GET, HEAD'],
      ['POST', '/health/live', 'GET, HEAD'],
      ['OPTIONS', '/v1/webhooks', 'GET, HEAD, POST'],
    ] as const)
      it(`for ${method} ${path}, with Allow`, async () => {
        const answer = await api.call(method, path, { as: admin })
        expect(answer.status).to.equal(405)
        expect(answer.get('error.code')).to.equal('method_not_allowed')
        expect(answer.headers.get('allow')).to.equal(allow)
      })
  })

  describe('415', () => {
    for (const type of [
      'text/plain',
      'application/xml',
      'multipart/form-data; boundary=x',
      'application/x-www-form-urlencoded',
      'application/json; charset=utf-16',
      'application/cloudevents+json',
    ])
      it(`for ${type}`, async () => {
        const answer = await api.call('POST', '/v1/keys', { as: admin, raw: '{}', headers: { 'content-type': type } })
        expect(answer.status).to.equal(415)
        expect(answer.get('error.code')).to.equal('unsupported_media_type')
      })
    it('for a compressed body', async () => {
      const answer = await api.call('POST', '/v1/events', { as: admin, raw: '{}', headers: { 'content-encoding': 'gzip' } })
      expect(answer.status).to.equal(415)
    })
    it('not for other ways to write JSON in UTF-8', async () => {
      for (const type of ['application/json;charset=UTF-8', 'Application/JSON; charset="utf-8"', 'application/json; charset=utf8'])
        expect((await api.call('POST', '/v1/keys', { as: admin, raw: '{}', headers: { 'content-type': type } })).status).to.equal(422)
    })
  })

  describe('413', () => {
    const tooLarge = `{"name":"${'x'.repeat(64 * 1024)}"}`
    it('for a body above 64 KiB, and above 256 KiB of an event; the connection goes on', async () => {
      for (const [path, body] of [
        ['/v1/keys', tooLarge],
        ['/v1/webhooks', tooLarge],
        ['/v1/events', `{"event":"a","payload":{"x":"${'x'.repeat(256 * 1024)}"}}`],
      ] as const) {
        const answer = await api.call('POST', path, { as: admin, raw: body })
        expect(answer.status).to.equal(413)
        expect(answer.get('error.code')).to.equal('body_too_large')
      }
    })
    it('for a chunked body that announces no length', async () => {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const req = request(
          {
            port: api.port,
            method: 'POST',
            path: '/v1/keys',
            headers: { authorization: `Bearer ${admin.token}`, 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
          },
          (res) => {
            res.resume()
            resolve(res.statusCode)
          },
        )
        req.on('error', reject)
        for (let i = 0; i < 100; i++) req.write('x'.repeat(1_024))
        req.end()
      })
      expect(status).to.equal(413)
    })
    it('before the body has come, when its length is announced', async () => {
      const answer = await raw(
        `POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n{`,
      )
      expect(answer).to.match(/^HTTP\/1\.1 413 /)
    })
  })

  describe('408', () => {
    it('for a body that does not come in time', async () => {
      const answer = await raw(
        `POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"event":`,
      )
      expect(answer).to.match(/^HTTP\/1\.1 408 /)
      expect(answer).to.match(/x-request-id: \S+/)
      expect(bodyOf(answer).error.code).to.equal('request_timeout')
    })
    it('for headers that do not come in time', async () => {
      expect(await raw('GET /health/live HTTP/1.1\r\nhost: x\r\nx-slow: ')).to.match(/^HTTP\/1\.1 408 /)
    })
    it('for a body that drips', async () => {
      const socket = connect(api.port, '127.0.0.1')
      let answer = ''
      let closed = false
      socket.on('data', (chunk) => {
        answer += chunk
      })
      socket.on('close', () => {
        closed = true
      })
      socket.on('error', () => undefined) // the server may close while a drop is on its way
      socket.write(
        `POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`,
      )
      const drip = setInterval(() => socket.write(' '), 50)
      try {
        await waitFor(() => closed, { ms: 5_000 })
      } finally {
        clearInterval(drip)
        socket.destroy()
      }
      expect(answer).to.match(/^HTTP\/1\.1 408 /)
    })
  })

  describe('400 and 431 in the envelope', () => {
    it('for what is no HTTP', async () => {
      const answer = await raw('hello\r\n\r\n')
      expect(answer).to.match(/^HTTP\/1\.1 400 /)
      expect(bodyOf(answer).error.code).to.equal('invalid_request')
    })
    it('for headers that are too large', async () => {
      const answer = await raw(`GET / HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(20_000)}\r\n\r\n`)
      expect(answer).to.match(/^HTTP\/1\.1 431 /)
      expect(bodyOf(answer).error.code).to.equal('headers_too_large')
    })
    it('for a second request on the connection that is broken', async () => {
      const socket = connect(api.port, '127.0.0.1')
      let answer = ''
      let closed = false
      socket.on('data', (chunk) => {
        answer += chunk
      })
      socket.on('close', () => {
        closed = true
      })
      socket.write('GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n')
      await waitFor(() => answer.endsWith('}'))
      expect(answer).to.match(/^HTTP\/1\.1 200 /)
      socket.write('rubbish\r\n\r\n')
      await waitFor(() => closed)
      expect(answer).to.contain('HTTP/1.1 400 ')
    })
    it('not before the answer of the request that came before the broken one', async () => {
      const answer = await raw(`GET /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\n\r\nrubbish\r\n\r\n`)
      expect(answer).to.match(/^HTTP\/1\.1 200 /)
      expect(answer.match(/HTTP\/1\.1/g)?.length).to.equal(1)
    })
    it('for credentials of both kinds at once', async () => {
      const both = { as: admin, headers: { 'x-api-key': 'AAAABBBBCCCC' } }
      for (const path of ['/v1/keys', '/v1/webhooks']) {
        const answer = await api.call('GET', path, both)
        expect(answer.status).to.equal(400)
        expect(answer.get('error.code')).to.equal('ambiguous_credentials')
      }
    })
  })

  it('nothing is stored for a caller who hangs up half way, and the service goes on', async () => {
    const before = await api.events()
    const socket = connect(api.port, '127.0.0.1')
    socket.on('error', () => undefined)
    const half = `POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n{"name":"half","scopes":["re`
    await new Promise<void>((resolve) => socket.write(half, () => resolve()))
    socket.destroy()
    await waitFor(() => api.log.lines.some((line) => line.includes('"status":499')))
    expect(await api.events()).to.equal(before)
    expect((await api.call('GET', '/health/live')).status).to.equal(200)
  })
  it('answers say nothing of the software, are not sniffed, and carry the usual security headers', async () => {
    const answer = await api.call('GET', '/v1/keys', { as: admin })
    expect(answer.headers.get('x-powered-by')).to.equal(null)
    expect(answer.headers.get('x-content-type-options')).to.equal('nosniff')
    expect(answer.headers.get('content-security-policy')).to.contain("default-src 'self'")
    const event = await api.call('POST', '/v1/events', { as: admin, body: {} })
    expect(event.headers.get('x-powered-by')).to.equal(null)
    expect(event.headers.get('x-content-type-options')).to.equal('nosniff')
  })
  it('close finishes what is under way, takes nothing more, and cuts what is left after the limit', async () => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let underWay = false
    const other = await startApi({
      replace: ({ bus }) => ({
        bus: {
          async produce(record) {
            underWay = true
            await held
            return bus.produce(record)
          },
        },
      }),
    })
    const client = await other.tenant()
    const posting = other.call('POST', '/v1/events', { as: client, body: { event: 'a', payload: {} } })
    const idle = connect(other.port, '127.0.0.1')
    idle.on('error', () => undefined)
    await waitFor(() => underWay && idle.readyState === 'open')
    const closing = other.api.close(1_000)
    await waitFor(async () => {
      try {
        await fetch(`${other.origin}/health/live`)
        return false
      } catch {
        return true
      }
    })
    release()
    expect((await posting).status).to.equal(202)
    await closing
    await waitFor(() => idle.readyState !== 'open')
    await other.stop()
  })
})
