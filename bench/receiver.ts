// A receiver in a process of its own: answers 200 and tells, when asked, what came. Prints its origin on the first line.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const seen = new Map<string, number>()
let deliveries = 0
let latencies: number[] = []

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    const sorted = latencies.sort((a, b) => a - b)
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    response.end(JSON.stringify({ deliveries, messages: seen.size, p50: at(0.5), p95: at(0.95), p99: at(0.99) }))
    if (request.url === '/reset') {
      seen.clear()
      deliveries = 0
      latencies = []
    }
    return
  }
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    response.end('ok')
    const id = String(request.headers['webhook-id'])
    deliveries++
    if (seen.has(id)) return
    // The producer puts the time into the id, so that nothing needs to be parsed.
    const sent = Number(id.split('_')[1])
    seen.set(id, sent)
    if (Number.isFinite(sent)) latencies.push(Date.now() - sent)
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
