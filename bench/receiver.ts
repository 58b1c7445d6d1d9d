// A receiver in a process of its own. POST /hook answers 200, /failing 503 once in ten, /hanging never. GET tells what came to
// /hook; GET /reset?settling=<ms> forgets it, and counts no times of what was sent so soon after the first. Prints its origin on the first line.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  readonly deliveries: number
  /** Different (webhook-id, path)s: what was delivered. */
  readonly messages: number
  /** From the time in the id to the first arrival, in ms. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

let seen = new Set<string>()
let deliveries = 0
let latencies: number[] = []
let failing = 0
let settling = 0
let first = Number.NaN

const server = createServer((request, response) => {
  const { url = '' } = request
  if (request.method === 'GET') {
    const sorted = latencies.sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    const received: Received = { deliveries, messages: seen.size, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    response.end(JSON.stringify(received))
    if (url.startsWith('/reset')) {
      settling = Number(url.split('=')[1] ?? 0)
      first = Number.NaN
      seen = new Set()
      deliveries = 0
      latencies = []
    }
    return
  }
  request.on('end', () => {
    if (url.startsWith('/hanging')) return
    if (url.startsWith('/failing') && ++failing % 10 === 0) return response.writeHead(503).end()
    response.end('ok')
    const id = String(request.headers['webhook-id'])
    deliveries++
    const key = `${id} ${url}`
    if (seen.has(key)) return
    seen.add(key)
    const sent = Number(id.split('_')[1]) / 1_000
    if (!Number.isFinite(sent)) return
    if (Number.isNaN(first)) first = sent
    if (sent - first >= settling) latencies.push(performance.timeOrigin + performance.now() - sent)
  })
  request.resume()
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
