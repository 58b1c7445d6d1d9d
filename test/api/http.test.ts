import { request } from 'node:http'
import { connect } from 'node:net'
import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { machineTimeOf } from '../support/patience.ts'
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
  const raw = (...parts: readonly (string | Buffer)[]): Promise<string> =>
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
  /** Sends a beginning, then drops of it, and goes on when the server has said that it is done; reads until the server is gone. */
  const stubborn = (beginning: string, drop: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ port: api.port, host: '127.0.0.1', allowHalfOpen: true })
      let answer = ''
      let isOver = false
      socket.on('data', (chunk) => {
        answer += chunk
      })
      socket.on('end', () => {
        isOver = true
      })
      socket.write(beginning)
      // What is written to a connection that the other side has left comes back as a reset.
      const drip = setInterval(() => socket.write(isOver && drop === '' ? ' ' : drop), 50)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        clearInterval(drip)
        resolve(answer)
      })
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
    for (const [what, head, drop] of [
      ['a connection on which nothing comes', '', ''],
      ['empty lines before a request', '\r\n', '\r\n'],
      ['headers that never end', 'GET /v1/keys HTTP/1.1\r\nhost: x\r\n', 'a: b\r\n'],
      ['a header that never ends', 'GET /v1/keys HTTP/1.1\r\nhost: x\r\na: ', 'b'],
      ['a body in chunks that never ends', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n', '1\r\n \r\n'],
      ['a chunk whose size never ends', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n', '0'],
      ['a chunk whose extensions never end', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n', '1;a'],
      ['a body of the length announced that never ends', 'POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n', ' '],
    ] as const)
      it(`for ${what}, and the connection ends though the caller does not hang up`, async () => {
        const withBody = head.startsWith('POST') ? `authorization: Bearer ${admin.token}\r\ncontent-type: application/json\r\n\r\n` : ''
        const produced = api.produced.length
        let answer = ''
        const tookMs = await machineTimeOf(async () => {
          answer = await stubborn(head + withBody, drop)
        })
        // A broken size is refused as soon as it can be none.
        expect(answer).to.match(/^HTTP\/1\.1 40[08] /)
        expect(answer.match(/HTTP\/1\.1 /g)).to.have.length(1)
        expect(tookMs).to.be.lessThan(10_000)
        expect(api.produced).to.have.length(produced)
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
        await waitFor(() => closed, { within: 10_000 })
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

  describe('400, once, for a request that another server may have read otherwise; what stands in it or after it is not carried out:', () => {
    const event = (id: string) => JSON.stringify({ id, event: 'smuggled', payload: {} })
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
    const first = event('first')
    const length = `content-length: ${first.length}`
    const chunked = 'transfer-encoding: chunked'
    const chunks = `${chunk(first)}0\r\n\r\n`
    /** Heads without the empty line, then what follows it. */
    const requests: Record<string, readonly [head: string, body: string]> = {
      'two lengths that differ': [`${length}\r\ncontent-length: 0`, first],
      'two lengths that differ, the shorter first': [`content-length: 0\r\n${length}`, first],
      'the same length twice': [`${length}\r\n${length}`, first],
      'a list of lengths': [`content-length: ${first.length}, ${first.length}`, first],
      'a length with a sign': [`content-length: +${first.length}`, first],
      'a negative length': ['content-length: -1', first],
      'a length in hex': [`content-length: 0x${first.length.toString(16)}`, first],
      'a length beyond all numbers': ['content-length: 99999999999999999999999', first],
      'an empty length': ['content-length: ', ''],
      'a length before a colon that stands apart': [`content-length : ${first.length}`, first],
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
      'chunked before a colon that stands apart': ['transfer-encoding : chunked', chunks],
      'chunked on a line of its own (obs-fold)': ['transfer-encoding:\r\n chunked', chunks],
      'a length on a line of its own (obs-fold)': [`content-length:\r\n\t${first.length}`, first],
      'any header that goes on in the next line (obs-fold)': [`x-other: a\r\n b\r\n${length}`, first],
      'a line that ends in LF alone': [`x-other: a\n${length}`, first],
      'a line that ends in CR alone': [`x-other: a\r${length}`, first],
      'a NUL byte in a header': [`x-other: a\0b\r\n${length}`, first],
      'a header without a colon': [`rubbish\r\n${length}`, first],
      'a header without a name': [`: a\r\n${length}`, first],
      'two hosts': [`host: y\r\n${length}`, first],
      'a chunk size that is no number': [chunked, `xyz\r\n${first}\r\n0\r\n\r\n`],
      'a chunk size with 0x': [chunked, `0x${chunks}`],
      'a chunk size with a sign': [chunked, `+${chunks}`],
      'a negative chunk size': [chunked, `-${chunks}`],
      'a chunk size beyond all numbers': [chunked, `FFFFFFFFFFFFFFFFF${chunks}`],
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
    /** @param line the first of the request, and the one that names its host */
    const refuses = async (head: string, body: string, line = 'POST /v1/events HTTP/1.1\r\nhost: x') => {
      const produced = api.produced.length
      const answer = await raw(Buffer.from(`${line}\r\n${credential()}${head}\r\n\r\n${body}${second()}`, 'latin1'))
      expect(answer.match(/HTTP\/1\.1 \d+/g), answer).to.deep.equal(['HTTP/1.1 400'])
      expect(answer).to.match(/connection: close/i)
      expect(bodyOf(answer).error.code).to.equal('invalid_request')
      expect((await api.call('GET', '/health/live')).status).to.equal(200)
      expect(api.produced.slice(produced).map(({ record }) => record.messages[0]?.id)).to.deep.equal([])
    }
    for (const [what, [head, body]] of Object.entries(requests)) it(what, () => refuses(head, body))
    for (const [what, line] of Object.entries({
      'no host': 'POST /v1/events HTTP/1.1',
      'chunks before HTTP/1.1 knew them': 'POST /v1/events HTTP/1.0\r\nhost: x\r\nconnection: keep-alive',
      'a version without headers': 'POST /v1/events HTTP/0.9\r\nhost: x',
      'a version that there is not': 'POST /v1/events HTTP/1.2\r\nhost: x',
      'a path with a space': 'POST /v1/events x HTTP/1.1\r\nhost: x',
    }))
      it(what, () => refuses(chunked, chunks, line))
    it('but not for two requests of which each is clear (so that the refusals above mean something)', async () => {
      const produced = api.produced.length
      const head = `POST /v1/events HTTP/1.1\r\nhost: x\r\n${credential()}`
      const closing = second().replace('host: x', 'host: x\r\nconnection: close')
      const answer = await raw(`${head}Transfer-Encoding:  Chunked \r\n\r\n${chunks}${head}${length}\r\n\r\n${first}${closing}`)
      expect(answer.match(/HTTP\/1\.1 \d+/g)).to.deep.equal(['HTTP/1.1 202', 'HTTP/1.1 202', 'HTTP/1.1 202'])
      expect(api.produced.slice(produced).map(({ record }) => record.messages[0]?.id)).to.deep.equal(['first', 'first', 'second'])
    })
    it('and nothing after a request that ends the connection, or asks for a tunnel', async () => {
      const produced = api.produced.length
      const last = await raw(`GET /v1/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n${second()}`)
      expect(last.match(/HTTP\/1\.1 \d+/g)).to.deep.equal(['HTTP/1.1 401'])
      expect(await raw(`CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n${second()}`)).to.equal('')
      expect((await api.call('GET', '/health/live')).status).to.equal(200)
      expect(api.produced).to.have.length(produced)
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
