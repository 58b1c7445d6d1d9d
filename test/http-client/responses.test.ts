import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { expect } from 'chai'
import fc from 'fast-check'
import { createSender, type Sender } from '../../src/dispatch/send.ts'
import { ResponseParser } from '../../src/http-client/response-parser.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { machineTimeOf } from '../support/patience.ts'
import { byteByByte, type RawReaction, type RawReceiver, startRawReceiver, thenFin } from '../support/raw-receiver.ts'

const local = createAddressPolicy({ allowedSubnets: [parseSubnet('127.0.0.0/8')], allowHttp: false })
const ok = 'HTTP/1.1 200 OK\r\n'
const bodyOfTwo = 'content-length: 2\r\n\r\nok'
const chunked = `${ok}transfer-encoding: chunked\r\n`

/** Responses in Latin-1 that must be read as status 200 with the body `ok`. */
const complete: Record<string, string> = {
  'a 100 Continue that was not requested': `HTTP/1.1 100 Continue\r\n\r\n${ok}${bodyOfTwo}`,
  'several informational responses': `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n${ok}${bodyOfTwo}`,
  'a folded field': `${ok}x-signature: a\r\n b\r\n\tc\r\n${bodyOfTwo}`,
  'a folded length': `${ok}content-length:\r\n 2\r\n\r\nok`,
  'a folded line before every field': `${ok} folded\r\n${bodyOfTwo}`,
  'bare LF as line ends': `${ok}${bodyOfTwo}`.replaceAll('\r\n', '\n'),
  'bare LF only at the end of the head': `${ok}content-length: 2\r\n\nok`,
  'the same length twice': `${ok}content-length: 2\r\nContent-Length: 2\r\n\r\nok`,
  'the same length twice in one field': `${ok}content-length: 2, 2\r\n\r\nok`,
  'a line that is not a field': `${ok}this is no field\r\n${bodyOfTwo}`,
  'a field without a name': `${ok}: value\r\n${bodyOfTwo}`,
  'a space before the colon': `${ok}content-length : 2\r\n\r\nok`,
  'a NUL and other control characters in a field': `${ok}x: a\0b\x01\x7f\r\n${bodyOfTwo}`,
  'broken UTF-8 in a field': `${ok}x-\xff: \xc3\x28\r\n${bodyOfTwo}`,
  'no reason phrase': `HTTP/1.1 200\r\n${bodyOfTwo}`,
  'a space after the status': `HTTP/1.1 200 \r\n${bodyOfTwo}`,
  'two spaces in the status line': `HTTP/1.1  200  OK\r\n${bodyOfTwo}`,
  'a protocol in lower case': `http/1.1 200 ok\r\n${bodyOfTwo}`,
  'HTTP/1.0': `HTTP/1.0 200 OK\r\n${bodyOfTwo}`,
  'another version': `HTTP/2 200\r\n${bodyOfTwo}`,
  'empty lines before the status line': `\r\n\n\r\n${ok}${bodyOfTwo}`,
  chunks: `${chunked}\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n`,
  'chunks with extensions, spaces, zeros and trailers': `${chunked}\r\n01;a="b;c"\r\no\r\n001 \r\nk\r\n0\r\nx: y\r\n\r\n`,
  'chunks with bare LF': `${chunked}\r\n2\nok\n0\n\n`,
  'chunks and a length': `${ok}content-length: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  'Transfer-Encoding: identity': `${ok}transfer-encoding: identity\r\n${bodyOfTwo}`,
  'Transfer-Encoding twice': `${chunked}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  'more bytes than announced': `${ok}${bodyOfTwo}!`,
}
/** Responses with status 200 that end when the connection ends, each with its body. */
const closing: Record<string, readonly [bytes: string, body: string]> = {
  'a body without a length': [`${ok}\r\nok`, 'ok'],
  'different lengths': [`${ok}content-length: 1\r\ncontent-length: 2\r\n\r\nok`, 'ok'],
  'an invalid length': [`${ok}content-length: -1\r\n\r\nok`, 'ok'],
  'an unknown transfer coding': [`${ok}transfer-encoding: rot13\r\n\r\nok`, 'ok'],
  'a body that breaks off': [`${ok}content-length: 10\r\n\r\nok`, 'ok'],
  'chunks that break off': [`${chunked}\r\n2\r\nok\r\n`, 'ok'],
  'chunks without a size': [`${chunked}\r\n2\r\nok\r\nzz\r\n`, 'ok'],
  'a chunk that is longer than its size': [`${chunked}\r\n2\r\nok!\r\n0\r\n\r\n`, 'ok'],
  'a head that breaks off': [`${ok}content-le`, ''],
  'a status line that breaks off': ['HTTP/1.1 200 O', ''],
  'a status line alone': [ok, ''],
}
/** Bytes that are not a response, each with the reason and the sentence for the history. */
const unreadable: Record<string, readonly [bytes: string, reason: string, detail: RegExp]> = {
  nothing: ['', 'connection_reset', /closed the connection before it sent a status/],
  'a 100 Continue alone': ['HTTP/1.1 100 Continue\r\n\r\n', 'connection_reset', /closed the connection before it sent a status/],
  'a greeting of SSH': ['SSH-2.0-OpenSSH_9.6\r\n', 'invalid_response', /speaks SSH/],
  'an alert of TLS': ['\x15\x03\x01\x00\x02\x02\x46', 'invalid_response', /must begin with https:/],
  'a frame of HTTP/2': ['\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64', 'invalid_response', /HTTP\/2/],
  'a greeting of a mail server': ['220 mail.example ESMTP\r\n', 'invalid_response', /mail or FTP server/],
  'a page without a head': ['<!doctype html><title>secret-of-the-payload</title>', 'invalid_response', /markup/],
  'other text': ['secret-of-the-payload\r\n', 'invalid_response', /does not begin with an HTTP status line/],
  'a status of letters': ['HTTP/1.1 OK\r\n\r\n', 'invalid_response', /no valid status code/],
  'a status of two digits': ['HTTP/1.1 20 OK\r\n\r\n', 'invalid_response', /no valid status code/],
  'a status of four digits': ['HTTP/1.1 2000 OK\r\n\r\n', 'invalid_response', /no valid status code/],
  'a status below 100': ['HTTP/1.1 099 OK\r\n\r\n', 'invalid_response', /no valid status code/],
  'half a status line': ['HTTP/1.1 2', 'invalid_response', /no valid status code/],
  'informational responses without end': [
    'HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n'.repeat(3_000),
    'invalid_response',
    /larger than 64 KiB/,
  ],
}

describe('the response of a receiver', () => {
  const replies = new Map<string, RawReaction>()
  let receiver: RawReceiver
  let sender: Sender
  let paths = 0
  const responseTo = async (reply: RawReaction) => {
    const path = `/${paths++}`
    replies.set(path, reply)
    const response = await sender.post(receiver.origin + path, {}, Buffer.from('{}'))
    expect(receiver.requests.filter((request) => request.path === path)).to.have.length(1)
    return response
  }
  before(async () => {
    receiver = await startRawReceiver(({ path }) => replies.get(path)!)
    sender = createSender({ policy: local, connectTimeoutMs: 10_000, requestTimeoutMs: 15_000, userAgent: 'Kolbak/test' })
  })
  after(async () => {
    await sender.close()
    await receiver.close()
  })

  for (const [what, bytes] of Object.entries(complete))
    it(`is read, even with ${what}`, async () => {
      const tookMs = await machineTimeOf(async () => {
        for (const reply of [bytes, thenFin(bytes), byteByByte(bytes)]) {
          const { code, reason, reason_detail, body } = await responseTo(reply)
          expect({ code, reason, reason_detail, body: body.toString() }).to.deep.equal({
            code: 200,
            reason: null,
            reason_detail: null,
            body: 'ok',
          })
        }
      })
      expect(tookMs, 'no response waited for the end of its connection').to.be.lessThan(3_000)
    })
  for (const [what, [bytes, expectedBody]] of Object.entries(closing))
    it(`is read, even with ${what}`, async () => {
      const { code, reason, body } = await responseTo(thenFin(bytes))
      expect({ code, reason, body: body.toString() }).to.deep.equal({ code: 200, reason: null, body: expectedBody })
    })
  it('is cut a second after its status and then counts, even if nothing more comes', async () => {
    for (const [bytes, body] of [
      [`${ok}content-length: 10\r\n\r\nok`, 'ok'],
      [`${ok}\r\n`, ''],
      [`${ok}x: y`, ''],
    ] as const) {
      const response = await responseTo(bytes)
      expect([response.code, response.body.toString()]).to.deep.equal([200, body])
      expect(response.duration_ms).to.be.within(990, 10_000)
    }
  })
  for (const [what, [bytes, expectedReason, detail]] of Object.entries(unreadable))
    it(`is a failure when it is ${what}`, async () => {
      const { code, reason, reason_detail } = await responseTo(thenFin(bytes))
      expect({ code, reason }).to.deep.equal({ code: null, reason: expectedReason })
      expect(reason_detail).to.match(detail).and.not.contain('secret')
    })
  it('has the first Retry-After, whether it is folded or not', async () => {
    for (const fields of ['retry-after: 7\r\nretry-after: 9\r\n', 'Retry-After:\r\n\t7 \r\nx: y\r\n'])
      expect((await responseTo(`HTTP/1.1 503 x\r\n${fields}${bodyOfTwo}`)).retryAfter).to.equal('7')
  })
  it('is recognised as something other than HTTP before its connection ends', async () => {
    for (const bytes of ['SSH-2.0-OpenSSH_9.6\r\n', '\x15\x03\x01\x00\x02\x02\x46', 'no line end']) {
      const { reason, duration_ms } = await responseTo(bytes)
      expect(reason).to.equal('invalid_response')
      expect(duration_ms).to.be.lessThan(10_000)
    }
  })
  it('counts when it comes before the request was read and the connection is then reset', async () => {
    const earlyReceiver = await startRawReceiver(() => '', {
      onConnection: (socket) => {
        socket.pause()
        socket.write('HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () =>
          setTimeout(() => socket.destroy(), 50),
        )
      },
    })
    const { code } = await sender.post(`${earlyReceiver.origin}/`, {}, Buffer.alloc(200_000, 'x'))
    expect(code).to.equal(413)
    await earlyReceiver.close()
  })
  it('is a failure with the number of seconds when no status comes in time', async () => {
    const impatient = createSender({ policy: local, connectTimeoutMs: 10_000, requestTimeoutMs: 300, userAgent: 'Kolbak/test' })
    for (const bytes of ['', 'HTTP/1.1 ', 'HTTP/1.1 100 Continue\r\n\r\n']) {
      replies.set('/slow', bytes)
      const { code, reason, reason_detail } = await impatient.post(`${receiver.origin}/slow`, {}, Buffer.from('{}'))
      expect({ code, reason, reason_detail }).to.deep.equal({
        code: null,
        reason: 'timeout',
        reason_detail: 'The receiver sent no status within 0.3 s.',
      })
    }
    await impatient.close()
  })

  describe('is readable in the history', () => {
    const text = '{"error":"größer als erlaubt"}'
    const send = async (fields: string, body: Buffer) =>
      (await responseTo(Buffer.concat([Buffer.from(`HTTP/1.1 500 x\r\n${fields}content-length: ${body.length}\r\n\r\n`), body]))).body
    for (const [coding, compress] of Object.entries({
      gzip: gzipSync,
      'x-gzip': gzipSync,
      GZIP: gzipSync,
      deflate: deflateSync,
      'deflate ': deflateRawSync,
      br: brotliCompressSync,
      zstd: zstdCompressSync,
    }))
      it(`when it is compressed with ${coding}`, async () => {
        expect((await send(`content-encoding: ${coding}\r\n`, compress(Buffer.from(text)))).toString()).to.equal(text)
      })
    for (const [charset, bytes] of Object.entries({
      'iso-8859-1': Buffer.from(text, 'latin1'),
      '"Windows-1252"': Buffer.from(text, 'latin1'),
      'utf-16le': Buffer.from(text, 'utf16le'),
      'UTF-8': Buffer.from(text),
    }))
      it(`when its charset is ${charset}`, async () => {
        expect((await send(`content-type: text/plain; charset=${charset}\r\n`, bytes)).toString()).to.equal(text)
      })
    it('when it is compressed and has another charset', async () => {
      const body = gzipSync(Buffer.from(text, 'latin1'))
      expect((await send('content-type: text/html;charset=latin1\r\ncontent-encoding: gzip\r\n', body)).toString()).to.equal(text)
    })
    it('up to 4 KiB, even if it expands to more or its rest is missing', async () => {
      const noise = Array.from({ length: 10_000 }, (_, i) => i * 7_919).join('é')
      for (const [coding, compress] of Object.entries({ gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync })) {
        const bomb = await send(`content-encoding: ${coding}\r\n`, compress(Buffer.alloc(50_000_000, 'a')))
        expect(bomb.toString(), coding).to.equal('a'.repeat(4_096))
        const cut = await send(`content-encoding: ${coding}\r\n`, compress(Buffer.from(noise)))
        expect(noise, coding).to.contain(cut.toString().slice(0, 1_000)).and.not.equal('')
      }
      const wide = await send('content-type: text/plain; charset=latin1\r\n', Buffer.alloc(4_096, 0xe9))
      expect(wide.toString()).to.equal('é'.repeat(2_048))
    })
    it('as it was sent, if it does not fit its header fields', async () => {
      const rubbish = Buffer.from([0x6f, 0x6b, 0x00, 0xff])
      for (const fields of [
        'content-encoding: gzip\r\n',
        'content-encoding: rot13\r\n',
        'content-type: text/plain; charset=klingon\r\n',
        'content-encoding: constructor\r\n',
      ])
        expect(await send(fields, rubbish), fields).to.deep.equal(rubbish)
    })
  })
})

describe('the parser of responses', () => {
  const parse = (bytes: Buffer, cuts: readonly number[]) => {
    const body: Buffer[] = []
    let ends = 0
    const parser = new ResponseParser({ onBody: (part) => body.push(Buffer.from(part)), onEnd: () => ends++ })
    let at = 0
    for (const cut of [...cuts, bytes.length]) {
      parser.feed(bytes.subarray(at, cut))
      at = cut
    }
    parser.close()
    const { code, problem, isReusable } = parser
    return { code, problem, body: Buffer.concat(body).toString('latin1'), ends, retryAfter: parser.field('retry-after'), isReusable }
  }
  it('reads the same response from the same bytes, however they are split', () => {
    const all = [...Object.values(complete), ...[...Object.values(closing), ...Object.values(unreadable)].map(([bytes]) => bytes)]
    const samples = all.filter((bytes) => bytes.length < 1_000).map((bytes) => Buffer.from(bytes, 'latin1'))
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.array(fc.nat(200), { maxLength: 8 }), (bytes, places) => {
        const cuts = [...new Set(places.map((place) => Math.min(place, bytes.length)))].sort((a, b) => a - b)
        const { isReusable, ...whole } = parse(bytes, [])
        const { isReusable: isReusableInParts, ...inParts } = parse(bytes, cuts)
        expect(inParts).to.deep.equal(whole)
        // The parser sees surplus bytes only if they come in the same part as the end of the response. The connection sees those that come later.
        if (isReusable) expect(isReusableInParts).to.equal(true)
      }),
      { numRuns: 2_000 },
    )
  })
  it('never throws, ends at most once, and returns no status below 100, for any bytes', () => {
    const token = fc.constantFrom(
      'HTTP/1.1 ',
      '200',
      ' OK',
      '\r\n',
      '\n',
      '\r',
      'content-length: ',
      '5',
      ':',
      ' ',
      'transfer-encoding: chunked',
      '\0',
      '100',
      'x',
      '0',
      ',',
      '\xff',
    )
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), fc.array(fc.nat(200), { maxLength: 4 }), (tokens, places) => {
        const bytes = Buffer.from(tokens.join(''), 'latin1')
        const cuts = [...new Set(places.map((place) => Math.min(place, bytes.length)))].sort((a, b) => a - b)
        const { code, ends } = parse(bytes, cuts)
        expect(ends).to.be.at.most(1)
        if (code !== null) expect(code).to.be.within(101, 999)
      }),
      { numRuns: 3_000 },
    )
  })
  it('needs time in proportion to the number of bytes', () => {
    const drip = Buffer.from(`${ok}x: ${'y'.repeat(60_000)}`)
    const before = process.cpuUsage()
    const parser = new ResponseParser({ onBody: () => undefined, onEnd: () => undefined })
    for (let i = 0; i < drip.length; i++) parser.feed(drip.subarray(i, i + 1))
    const { user, system } = process.cpuUsage(before) // microseconds
    expect((user + system) / 1_000).to.be.lessThan(2_000)
  })
})
