import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import type { DeliveryResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withPoison } from './poison.ts'

/** The status line decides the outcome. No later byte may hide it. */
const failed = 'HTTP/1.1 500 x\r\n'
const later = (value: string) => `HTTP/1.1 503 Later\r\nretry-after: ${value}\r\ncontent-length: 0\r\n\r\n`
const giant = 'x'.repeat(1 << 20)
/** The bytes of each receiver in Latin-1, and the reason that the attempt must have (`*`: any). */
const responses: Record<string, readonly [response: string, outcome: string]> = {
  'NUL bytes': ['\0'.repeat(1_000), 'invalid_response'],
  'broken UTF-8': ['\xff\xfe\xc3\x28\r\n\r\n', 'invalid_response'],
  'an empty line': ['\r\n\r\n', '*'],
  'a status line without a number': ['HTTP/1.1 OK\r\n\r\n', 'invalid_response'],
  'a status of two digits': ['HTTP/1.1 20 OK\r\n\r\n', 'invalid_response'],
  'a status of four digits': ['HTTP/1.1 2000 OK\r\n\r\n', 'invalid_response'],
  'status 000': ['HTTP/1.1 000 None\r\ncontent-length: 0\r\n\r\n', '*'],
  'status 099': ['HTTP/1.1 099 None\r\ncontent-length: 2\r\n\r\nok', '*'],
  'status 999': ['HTTP/1.1 999 Denied\r\ncontent-length: 0\r\n\r\n', 'http_999'],
  'a reason of NUL and broken bytes': ['HTTP/1.1 500 \xff\xfe\r\ncontent-length: 0\r\n\r\n', 'http_500'],
  'another protocol': ['SIP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n', 'invalid_response'],
  'a switch to another protocol': ['HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', '*'],
  'informational responses without end': ['HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n'.repeat(2_000), '*'],
  'a header with a NUL byte': [`${failed}x: a\0b\r\n\r\n`, 'http_500'],
  'headers of broken UTF-8': [`HTTP/1.1 500 x\r\nx-\xff: \xff\xfe\xc3\x28\r\nretry-after: \xff\xfe\r\ncontent-length: 0\r\n\r\n`, '*'],
  'a header of a megabyte': [`${failed}x: ${giant}\r\n\r\n`, 'http_500'],
  'a header that never ends': [`${failed}x: `, 'http_500'],
  'ten thousand headers': [`${failed}${'header: value\r\n'.repeat(10_000)}\r\n`, 'http_500'],
  'a status line of a megabyte': [`HTTP/1.1 500 ${giant}\r\n\r\n`, 'http_500'],
  'a header named __proto__': [`HTTP/1.1 500 x\r\n__proto__: a\r\n__proto__: b\r\ncontent-length: 0\r\n\r\n`, 'http_500'],
  'headers with the names of members of every object': [
    `HTTP/1.1 500 x\r\nconstructor: a\r\ntoString: b\r\nvalueof: c\r\nhasownproperty: d\r\nthen: e\r\ncontent-length: 0\r\n\r\n`,
    'http_500',
  ],
  'trailers with the names of members of every object': [
    'HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\ntrailer: constructor\r\n\r\n1\r\na\r\n0\r\n__proto__: a\r\nconstructor: b\r\n\r\n',
    'http_500',
  ],
  'a folded header': [`${failed}x: a\r\n b\r\ncontent-length: 0\r\n\r\n`, 'http_500'],
  'two lengths': [`${failed}content-length: 1\r\ncontent-length: 2\r\n\r\nab`, 'http_500'],
  'a length and chunks': [`${failed}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`, 'http_500'],
  'a negative length': [`${failed}content-length: -1\r\n\r\n`, 'http_500'],
  'a chunk without a valid size': ['HTTP/1.1 500 x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', 'http_500'],
  'a body of NUL bytes and half characters': [`HTTP/1.1 500 x\r\ncontent-length: 5\r\n\r\n\0\xff\xc3\x28\xed`, 'http_500'],
  'a body that does not fit its headers': [
    'HTTP/1.1 500 x\r\ncontent-encoding: gzip\r\ncontent-type: \xff\r\ncontent-length: 4\r\n\r\nrubb',
    'http_500',
  ],
  'a second response': [`HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n${failed}content-length: 0\r\n\r\n`, '*'],
  'Retry-After without a value': [later(''), 'http_503'],
  'Retry-After of a thousand digits': [later('9'.repeat(1_000)), 'http_503'],
  'Retry-After in the past': [later('-5'), 'http_503'],
  'Retry-After in words': [later('in a while'), 'http_503'],
  'Retry-After on a day that does not exist': [later('Mon, 99 Foo 9999 99:99:99 GMT'), 'http_503'],
  'Retry-After of bytes': [later('\xff\xfe\xc3'), 'http_503'],
  'Retry-After twice': [later('x\r\nretry-after: 0'), 'http_503'],
  'Retry-After as a number of another kind': [later('1e9'), 'http_503'],
}

describe('invalid responses of receivers', () => {
  const running = withPoison()
  const { subscribe, post, ids, deliveriesOf, expectGoingOn } = running
  let rubbish: Server
  const sockets = new Set<Socket>()
  let tries = 0
  before(async () => {
    const all = Object.values(responses)
    rubbish = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      let request = ''
      socket.on('data', (chunk) => {
        request += chunk.toString('latin1')
        // The body of the request ends with `}}`, which does not occur before.
        if (!request.endsWith('}}')) return
        const index = Number(/^POST \/(\d+) /.exec(request)?.[1])
        request = ''
        const [response = ''] = all[index] ?? []
        socket.write(Buffer.from(response, 'latin1'))
      })
    })
    await new Promise<void>((resolve) => {
      rubbish.listen(0, '127.0.0.1', resolve)
    })
  })
  after(() => {
    for (const socket of sockets) socket.destroy()
    rubbish.close()
  })

  it('become failed attempts in the history in bounded time, and other receivers get their requests', async () => {
    const { api } = running
    const { port } = rubbish.address() as AddressInfo
    const names = Object.keys(responses)
    const kindOfWebhook = new Map<string, string>()
    const event = `rubbish.${++tries}`
    for (const [i, name] of names.entries()) kindOfWebhook.set((await subscribe(`http://127.0.0.1:${port}/${i}`, event)).id, name)
    const beside = await subscribe('/beside', event)
    const id = await post(event)
    const deliveriesFound = await waitFor(
      async () => {
        const all = await deliveriesOf(id)
        const isOver = ({ attempts, status, webhook_id }: DeliveryResponse) =>
          webhook_id === beside.id || (attempts.length > 0 && status !== 'pending')
        return all.length === names.length + 1 && all.every(isOver) ? all : undefined
      },
      { what: 'an attempt at every receiver' },
    )
    for (const delivery of deliveriesFound) {
      const name = kindOfWebhook.get(delivery.webhook_id)
      if (name === undefined) continue
      const [, outcome = ''] = responses[name] ?? []
      const [attempt] = delivery.attempts
      expect(attempt?.status, name).to.equal('failed')
      if (outcome === '*') expect(attempt?.reason, name).to.be.a('string')
      else expect(attempt?.reason, name).to.equal(outcome)
      expect(attempt?.duration_ms, name).to.be.lessThan(30_000)
    }
    expect(ids('/beside')).to.deep.equal([id])
    const retryAfterDelivery = deliveriesFound.find(
      (delivery) => kindOfWebhook.get(delivery.webhook_id) === 'Retry-After of a thousand digits',
    )
    const wait = Date.parse(retryAfterDelivery?.next_attempt_at ?? '') - Date.now()
    expect(wait, 'a day at the most').to.be.within(85_000_000, 86_400_000)
    for (const [webhook] of kindOfWebhook) await api.call('DELETE', `/v1/webhooks/${webhook}`)
    await expectGoingOn()
  })
})
