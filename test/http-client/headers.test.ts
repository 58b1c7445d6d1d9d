import { expect } from 'chai'
import { createHttpClient, type HttpClient } from '../../src/http-client/client.ts'
import { createAddressPolicy, parseSubnet } from '../../src/lib/addresses.ts'
import { type RawReceiver, startRawReceiver } from '../support/raw-receiver.ts'

const policy = createAddressPolicy({ allowedSubnets: [parseSubnet('127.0.0.0/8')], allowHttp: false })
const clientWith = (headers: Record<string, string>) =>
  createHttpClient({
    policy,
    resolve: async () => ({ addresses: [] }),
    connectTimeoutMs: 10_000,
    requestTimeoutMs: 15_000,
    headers,
  })

describe('the headers of a request', () => {
  let receiver: RawReceiver
  let client: HttpClient
  before(async () => {
    receiver = await startRawReceiver(() => 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    client = clientWith({ 'Content-Type': 'application/json' })
  })
  after(async () => {
    await client.close()
    await receiver.close()
  })
  const post = (headers: Record<string, string>) => client.post(`${receiver.origin}/`, headers, Buffer.from('{}'))

  for (const [what, headers, sentence] of [
    ['a name with a space', { 'bad name': '1' }, 'The request has a header named "bad name", and HTTP forbids one of its characters.'],
    ['a name with a line break', { 'a\r\nb': '1' }, 'The request has a header named "a\\r\\nb", and HTTP forbids one of its characters.'],
    ['an empty name', { '': '1' }, 'The request has a header named "", and HTTP forbids one of its characters.'],
    ['a value with a line break', { a: '1\r\nb: 2' }, 'The header a of the request has a character that HTTP forbids.'],
    ['Host', { Host: 'other.test' }, 'Only the HTTP client may write the header Host of a request.'],
    ['Content-Length', { 'content-length': '1' }, 'Only the HTTP client may write the header content-length of a request.'],
    ['Transfer-Encoding', { 'Transfer-Encoding': 'chunked' }, 'Only the HTTP client may write the header Transfer-Encoding of a request.'],
    ['a header that every request has', { 'content-type': 'text/plain' }, 'The request has the header content-type twice.'],
    ['a header twice in different cases', { 'x-a': '1', 'X-A': '2' }, 'The request has the header X-A twice.'],
  ] as const)
    it(`are refused with one sentence, and nothing is sent, if they have ${what}`, async () => {
      const { code, failure } = await post(headers)
      expect({ code, failure }).to.deep.equal({ code: null, failure: { reason: 'network_error', detail: sentence } })
      expect(receiver.requests).to.have.length(0)
    })
  it('are refused when the client is made, if every request would have them', () => {
    expect(() => clientWith({ Host: 'other.test' })).to.throw('Only the HTTP client may write the header Host of a request.')
  })
})
