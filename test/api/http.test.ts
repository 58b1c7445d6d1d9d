import { request } from 'node:http'
import { connect } from 'node:net'
import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { machineTimeOf } from '../support/patience.ts'
import { waitFor } from '../support/wait-for.ts'

describe('the HTTP server', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi({ settings: { slowRequestMs: 400 } })
    admin = await api.tenant()
  })
  after(() => api.stop())

  /** Sends the bytes and reads until the server closes the connection. */
  const raw = (...parts: readonly (string | Buffer)[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(api.port, '127.0.0.1')
      let response = ''
      socket.on('data', (chunk) => {
        response += chunk
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(response))
      for (const part of parts) socket.write(part)
    })
  /** Sends a beginning and then many small pieces (drops), even after the server has ended its side. Reads until the server closes the connection. */
  const sendStubbornly = (beginning: string, drop: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ port: api.port, host: '127.0.0.1', allowHalfOpen: true })
      let response = ''
      let isOver = false
      socket.on('data', (chunk) => {
        response += chunk
      })
      socket.on('end', () => {
        isOver = true
      })
      socket.write(beginning)
      // A write on a connection that the server has destroyed causes a reset, so the client learns that it is closed.
      const drip = setInterval(() => socket.write(isOver && drop === '' ? ' ' : drop), 50)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        clearInterval(drip)
        resolve(response)
      })
    })
  const bodyOf = (response: string) => JSON.parse(response.slice(response.indexOf('\r\n\r\n') + 4))

  describe('request ids', () => {
    it('are taken from the caller when they are safe, and are logged', async () => {
      const response = await api.call('GET', '/v1/keys', { as: admin, headers: { 'x-request-id': 'mine:1_2.3-4' } })
      expect(response.headers.get('x-request-id')).to.equal('mine:1_2.3-4')
      const line = api.log.lines.find((candidate) => candidate.includes('mine:1_2.3-4'))
      expect(JSON.parse(line ?? '{}')).to.include({
        message: 'http.request',
        operation: 'listKeys',
        status: 200,
        tenant: admin.tenant,
        actor: `client:${admin.clientId}`,
      })
    })
    for (const badId of ['x'.repeat(129), 'a b', '<script>', 'ü'])
      it(`are new when the caller's is ${JSON.stringify(badId.slice(0, 10))}`, async () => {
        const response = await api.call('GET', '/v1/keys', {
          as: admin,
          headers: { 'x-request-id': Buffer.from(badId).toString('latin1') },
        })
        expect(response.headers.get('x-request-id')).to.match(/^[0-9A-HJKMNP-TV-Z]{26}$/)
      })
    it('are part of every response, including those to refused requests and unknown paths', async () => {
      for (const path of ['/', '/v1/nothing', '/v1/keys/%ff', '/health/live', '/openapi.json'])
        expect((await api.call('GET', path)).headers.get('x-request-id'), path).to.not.equal(null)
    })
  })

  describe('404', () => {
    for (const path of ['/nothing', '/v1', '/v1/nothing', '/v1/keys/a/b', '/V1/keys', '/v1/Keys', '/v2/keys', '//v1/keys'])
      it(`is returned in the envelope for ${path}`, async () => {
        const response = await api.call('GET', path)
        expect(response.status).to.equal(404)
        expect(response.get('error.code')).to.equal('not_found')
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
      it(`is returned with Allow for ${method} ${path}`, async () => {
        const response = await api.call(method, path, { as: admin })
        expect(response.status).to.equal(405)
        expect(response.get('error.code')).to.equal('method_not_allowed')
        expect(response.headers.get('allow')).to.equal(allow)
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
      it(`is returned for ${type}`, async () => {
        const response = await api.call('POST', '/v1/keys', { as: admin, raw: '{}', headers: { 'content-type': type } })
        expect(response.status).to.equal(415)
        expect(response.get('error.code')).to.equal('unsupported_media_type')
      })
    it('is returned for a compressed body', async () => {
      const response = await api.call('POST', '/v1/events', { as: admin, raw: '{}', headers: { 'content-encoding': 'gzip' } })
      expect(response.status).to.equal(415)
    })
    it('is not returned for a body that says that it is not compressed', async () => {
      for (const coding of ['identity', 'Identity', ' IDENTITY'])
        expect((await api.call('POST', '/v1/keys', { as: admin, raw: '{}', headers: { 'content-encoding': coding } })).status).to.equal(422)
    })
    it('is not returned for other spellings of JSON in UTF-8', async () => {
      for (const type of ['application/json;charset=UTF-8', 'Application/JSON; charset="utf-8"', 'application/json; charset=utf8'])
        expect((await api.call('POST', '/v1/keys', { as: admin, raw: '{}', headers: { 'content-type': type } })).status).to.equal(422)
    })
  })

  describe('413', () => {
    const tooLarge = `{"name":"${'x'.repeat(64 * 1024)}"}`
    it('is returned for a body above 64 KiB, and for an event above 256 KiB; the connection stays usable', async () => {
      for (const [path, body] of [
        ['/v1/keys', tooLarge],
        ['/v1/webhooks', tooLarge],
        ['/v1/events', `{"event":"a","payload":{"x":"${'x'.repeat(256 * 1024)}"}}`],
      ] as const) {
        const response = await api.call('POST', path, { as: admin, raw: body })
        expect(response.status).to.equal(413)
        expect(response.get('error.code')).to.equal('body_too_large')
      }
    })
    it('is returned for a chunked body without an announced length', async () => {
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
    it('is returned before the body has arrived when its length is announced', async () => {
      const response = await raw(
        `POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n{`,
      )
      expect(response).to.match(/^HTTP\/1\.1 413 /)
    })
  })

  describe('408', () => {
    it('is returned for a body that does not arrive in time', async () => {
      const response = await raw(
        `POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"event":`,
      )
      expect(response).to.match(/^HTTP\/1\.1 408 /)
      expect(response).to.match(/x-request-id: \S+/)
      expect(bodyOf(response).error.code).to.equal('request_timeout')
    })
    it('is returned for headers that do not arrive in time', async () => {
      expect(await raw('GET /health/live HTTP/1.1\r\nhost: x\r\nx-slow: ')).to.match(/^HTTP\/1\.1 408 /)
    })
    for (const [title, head, drop] of [
      ['a connection without any byte', '', ''],
      ['empty lines before a request', '\r\n', '\r\n'],
      ['headers that never end', 'GET /v1/keys HTTP/1.1\r\nhost: x\r\n', 'a: b\r\n'],
      ['a header that never ends', 'GET /v1/keys HTTP/1.1\r\nhost: x\r\na: ', 'b'],
      ['a body in chunks that never ends', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n', '1\r\n \r\n'],
      ['a chunk whose size never ends', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n', '0'],
      ['a chunk whose extensions never end', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n', '1;a'],
      ['a body whose announced length never arrives', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n', ' '],
    ] as const)
      it(`is returned for ${title}, and the connection ends even if the caller does not close it`, async () => {
        const withBody = head.startsWith('POST') ? `authorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\n\r\n` : ''
        const produced = api.produced.length
        let response = ''
        const tookMs = await machineTimeOf(async () => {
          response = await sendStubbornly(head + withBody, drop)
        })
        // A broken chunk size is refused with 400 as soon as it is invalid.
        expect(response).to.match(/^HTTP\/1\.1 40[08] /)
        expect(response.match(/HTTP\/1\.1 /g)).to.have.length(1)
        expect(tookMs).to.be.lessThan(10_000)
        expect(api.produced).to.have.length(produced)
      })
    it('is returned for a body that arrives too slowly', async () => {
      const socket = connect(api.port, '127.0.0.1')
      let response = ''
      let closed = false
      socket.on('data', (chunk) => {
        response += chunk
      })
      socket.on('close', () => {
        closed = true
      })
      socket.on('error', () => undefined) // The server may close the connection while a piece is being sent.
      socket.write(
        `POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`,
      )
      const drip = setInterval(() => socket.write(' '), 50)
      try {
        await waitFor(() => closed, { within: 10_000 })
      } finally {
        clearInterval(drip)
        socket.destroy()
      }
      expect(response).to.match(/^HTTP\/1\.1 408 /)
    })
  })

  describe('400 and 431', () => {
    it('are returned for bytes that are not HTTP', async () => {
      const response = await raw('hello\r\n\r\n')
      expect(response).to.match(/^HTTP\/1\.1 400 /)
      expect(bodyOf(response).error.code).to.equal('invalid_request')
    })
    it('are returned for headers that are too large', async () => {
      const response = await raw(`GET / HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(20_000)}\r\n\r\n`)
      expect(response).to.match(/^HTTP\/1\.1 431 /)
      expect(bodyOf(response).error.code).to.equal('headers_too_large')
    })
    it('are returned for a broken second request on a connection', async () => {
      const socket = connect(api.port, '127.0.0.1')
      let response = ''
      let closed = false
      socket.on('data', (chunk) => {
        response += chunk
      })
      socket.on('close', () => {
        closed = true
      })
      socket.write('GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n')
      await waitFor(() => response.endsWith('}'))
      expect(response).to.match(/^HTTP\/1\.1 200 /)
      socket.write('rubbish\r\n\r\n')
      await waitFor(() => closed)
      expect(response).to.contain('HTTP/1.1 400 ')
    })
    it('are returned after the response to the request before the broken one', async () => {
      const response = await raw(`GET /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin.token}\r\n\r\nrubbish\r\n\r\n`)
      expect(response).to.match(/^HTTP\/1\.1 200 /)
      expect(response.match(/HTTP\/1\.1/g)?.length).to.equal(1)
    })
    it('are returned for both kinds of credentials at once', async () => {
      const both = { as: admin, headers: { 'x-api-key': 'AAAABBBBCCCC' } }
      for (const path of ['/v1/keys', '/v1/webhooks']) {
        const response = await api.call('GET', path, both)
        expect(response.status).to.equal(400)
        expect(response.get('error.code')).to.equal('ambiguous_credentials')
      }
    })
    it('are not returned for a token that comes in both headers, as some generated clients send it', async () => {
      const response = await api.call('GET', '/v1/webhooks', { as: admin, headers: { 'x-api-key': admin.token } })
      expect(response.status).to.equal(200)
    })
  })

  describe('a single 400, with neither this request nor the next one carried out, is returned for', () => {
    const event = (id: string) => JSON.stringify({ id, event: 'smuggled', payload: {} })
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
    const first = event('first')
    const length = `content-length: ${first.length}`
    const chunked = 'transfer-encoding: chunked'
    const chunks = `${chunk(first)}0\r\n\r\n`
    /** Each entry has a head without the empty line, and the bytes that follow it. */
    const requests: Record<string, readonly [head: string, body: string]> = {
      'two lengths that differ': [`${length}\r\ncontent-length: 0`, first],
      'two lengths that differ, the shorter first': [`content-length: 0\r\n${length}`, first],
      'the same length twice': [`${length}\r\n${length}`, first],
      'a list of lengths': [`content-length: ${first.length}, ${first.length}`, first],
      'a length with a sign': [`content-length: +${first.length}`, first],
      'a negative length': ['content-length: -1', first],
      'a length in hex': [`content-length: 0x${first.length.toString(16)}`, first],
      'a length that is too large': ['content-length: 99999999999999999999999', first],
      'an empty length': ['content-length: ', ''],
      'a length with a space before the colon': [`content-length : ${first.length}`, first],
      'a length and chunks': [`${length}\r\n${chunked}`, chunks],
      'chunks and a length': [`${chunked}\r\ncontent-length: 0`, chunks],
      'chunks and a length that fits them': [`${chunked}\r\ncontent-length: ${chunks.length}`, chunks],
      'chunked, identity': [`${chunked}, identity`, chunks],
      'identity, chunked': ['transfer-encoding: identity, chunked', chunks],
      'chunked, then identity': [`${chunked}\r\ntransfer-encoding: identity`, chunks],
      'chunked twice': [`${chunked}\r\n${chunked}`, chunks],
      'chunked, chunked': [`${chunked}, chunked`, chunks],
      'gzip, chunked': ['transfer-encoding: gzip, chunked', chunks],
      'identity alone': ['transfer-encoding: identity', chunks],
      'identity and a length': [`transfer-encoding: identity\r\n${length}`, first],
      'an empty coding and a length': [`transfer-encoding:\r\n${length}`, first],
      'a coding that is nearly chunked': ['transfer-encoding: xchunked', chunks],
      'chunked in quotes': ['transfer-encoding: "chunked"', chunks],
      'chunked after a vertical tab': ['transfer-encoding: \x0bchunked', chunks],
      'chunked with a space before the colon': ['transfer-encoding : chunked', chunks],
      'chunked on a line of its own (obs-fold)': ['transfer-encoding:\r\n chunked', chunks],
      'a length on a line of its own (obs-fold)': [`content-length:\r\n\t${first.length}`, first],
      'a header that continues on the next line (obs-fold)': [`x-other: a\r\n b\r\n${length}`, first],
      'a line that ends in LF alone': [`x-other: a\n${length}`, first],
      'a line that ends in CR alone': [`x-other: a\r${length}`, first],
      'a NUL byte in a header': [`x-other: a\0b\r\n${length}`, first],
      'a header without a colon': [`rubbish\r\n${length}`, first],
      'a header without a name': [`: a\r\n${length}`, first],
      'two hosts': [`host: y\r\n${length}`, first],
      'a chunk size that is not a number': [chunked, `xyz\r\n${first}\r\n0\r\n\r\n`],
      'a chunk size with 0x': [chunked, `0x${chunks}`],
      'a chunk size with a sign': [chunked, `+${chunks}`],
      'a negative chunk size': [chunked, `-${chunks}`],
      'a chunk size that is too large': [chunked, `FFFFFFFFFFFFFFFFF${chunks}`],
      'no chunk size': [chunked, `\r\n${first}\r\n0\r\n\r\n`],
      'a space before a chunk size': [chunked, ` ${chunks}`],
      'a space after a chunk size': [chunked, chunks.replace('\r\n', ' \r\n')],
      'a chunk size that ends in LF alone': [chunked, chunks.replace('\r\n', '\n')],
      'a chunk extension that ends in LF alone': [chunked, chunks.replace('\r\n', ';a\n')],
      'a chunk that is longer than its size': [chunked, chunks.replace('\r\n0', 'X\r\n0')],
      'a chunk that ends in LF alone': [chunked, chunks.replace('\r\n0', '\n0')],
      'rubbish after the last chunk': [chunked, chunks.replace('0\r\n\r\n', '0\r\nrubbish\r\n\r\n')],
      'a length after the last chunk': [chunked, chunks.replace('0\r\n\r\n', '0\r\ncontent-length: 5\r\n\r\n')],
      'another coding after the last chunk': [chunked, chunks.replace('0\r\n\r\n', '0\r\ntransfer-encoding: identity\r\n\r\n')],
    }
    const credential = () => `authorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\n`
    const second = () =>
      `POST /v1/events HTTP/1.1\r\nhost: x\r\n${credential()}content-length: ${event('second').length}\r\n\r\n${event('second')}`
    /** @param line the request line and the header `host` */
    const expectRefused = async (head: string, body: string, line = 'POST /v1/events HTTP/1.1\r\nhost: x') => {
      const produced = api.produced.length
      const response = await raw(Buffer.from(`${line}\r\n${credential()}${head}\r\n\r\n${body}${second()}`, 'latin1'))
      expect(response.match(/HTTP\/1\.1 \d+/g), response).to.deep.equal(['HTTP/1.1 400'])
      expect(response).to.match(/connection: close/i)
      expect(bodyOf(response).error.code).to.equal('invalid_request')
      expect((await api.call('GET', '/health/live')).status).to.equal(200)
      expect(api.produced.slice(produced).map(({ record }) => record.messages[0]?.id)).to.deep.equal([])
    }
    for (const [title, [head, body]] of Object.entries(requests)) it(title, () => expectRefused(head, body))
    for (const [title, line] of Object.entries({
      'no host': 'POST /v1/events HTTP/1.1',
      'chunks in HTTP/1.0': 'POST /v1/events HTTP/1.0\r\nhost: x\r\nconnection: keep-alive',
      'a version without headers': 'POST /v1/events HTTP/0.9\r\nhost: x',
      'an unknown version': 'POST /v1/events HTTP/1.2\r\nhost: x',
      'a path with a space': 'POST /v1/events x HTTP/1.1\r\nhost: x',
    }))
      it(title, () => expectRefused(chunked, chunks, line))
    it('none of two unambiguous requests: this shows that the tests above can fail', async () => {
      const produced = api.produced.length
      const head = `POST /v1/events HTTP/1.1\r\nhost: x\r\n${credential()}`
      const closing = second().replace('host: x', 'host: x\r\nconnection: close')
      const response = await raw(`${head}Transfer-Encoding:  Chunked \r\n\r\n${chunks}${head}${length}\r\n\r\n${first}${closing}`)
      expect(response.match(/HTTP\/1\.1 \d+/g)).to.deep.equal(['HTTP/1.1 202', 'HTTP/1.1 202', 'HTTP/1.1 202'])
      expect(api.produced.slice(produced).map(({ record }) => record.messages[0]?.id)).to.deep.equal(['first', 'first', 'second'])
    })
    it('no request that ends the connection or asks for a tunnel; the request after it is not carried out', async () => {
      const produced = api.produced.length
      const last = await raw(`GET /v1/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n${second()}`)
      expect(last.match(/HTTP\/1\.1 \d+/g)).to.deep.equal(['HTTP/1.1 401'])
      expect(await raw(`CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n${second()}`)).to.equal('')
      expect((await api.call('GET', '/health/live')).status).to.equal(200)
      expect(api.produced).to.have.length(produced)
    })
  })

  it('stores nothing for a caller who hangs up during a request, and serves the next caller', async () => {
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
  it('sends the usual security headers and no header that names the software', async () => {
    const response = await api.call('GET', '/v1/keys', { as: admin })
    expect(response.headers.get('x-powered-by')).to.equal(null)
    expect(response.headers.get('x-content-type-options')).to.equal('nosniff')
    expect(response.headers.get('content-security-policy')).to.contain("default-src 'self'")
    const event = await api.call('POST', '/v1/events', { as: admin, body: {} })
    expect(event.headers.get('x-powered-by')).to.equal(null)
    expect(event.headers.get('x-content-type-options')).to.equal('nosniff')
  })
  it('finishes the requests in progress on close, accepts no more, and cuts off those that exceed the time limit', async () => {
    let release = (): void => undefined
    const finished = new Promise<void>((resolve) => {
      release = resolve
    })
    let underWay = false
    const other = await startApi({
      replace: ({ bus }) => ({
        bus: {
          async produce(record) {
            underWay = true
            await finished
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
