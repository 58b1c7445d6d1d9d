// This program is a receiver in a separate process. It prints its origin as the first line. POST /hook always gets a 200. POST /failing gets a 503
// once in ten requests, and otherwise a 200. POST /hanging gets no response. GET returns counts and percentiles. GET /reset?settling=<ms> also resets
// them, and the percentiles then leave out the events of the first <ms> milliseconds.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  readonly requests: number
  /** The number of different pairs of webhook-id and path. A repeated request is not counted again. */
  readonly deliveries: number
  /** Percentiles of the time from sending to the first arrival, in ms. The id of a message contains the time of sending. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

let received = new Set<string>()
let requests = 0
let latencies: number[] = []
let failingRequests = 0
let settlingMs = 0
let firstSentAt = Number.NaN

const server = createServer((request, response) => {
  const { url = '' } = request
  if (request.method === 'GET') {
    const sorted = latencies.sort((a, b) => a - b)
    const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    const report: Received = { requests, deliveries: received.size, p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99) }
    response.end(JSON.stringify(report))
    if (url.startsWith('/reset')) {
      settlingMs = Number(url.split('=')[1] ?? 0)
      firstSentAt = Number.NaN
      received = new Set()
      requests = 0
      latencies = []
    }
    return
  }
  request.on('end', () => {
    if (url.startsWith('/hanging')) return
    if (url.startsWith('/failing') && ++failingRequests % 10 === 0) return response.writeHead(503).end()
    response.end('ok')
    const id = String(request.headers['webhook-id'])
    requests++
    const key = `${id} ${url}`
    if (received.has(key)) return
    received.add(key)
    const sentAt = Number(id.split('_')[1]) / 1_000
    if (!Number.isFinite(sentAt)) return
    if (Number.isNaN(firstSentAt)) firstSentAt = sentAt
    if (sentAt - firstSentAt >= settlingMs) latencies.push(performance.timeOrigin + performance.now() - sentAt)
  })
  request.resume()
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
