// Producers in a process of their own. Closed loop: each posts its next event when the last was accepted.
// node bench/producers.ts <url> <token> <producers> <seconds> <payload bytes>
import { Pool } from 'undici'

const [url = '', token = '', producers = '32', seconds = '10', bytes = '512'] = process.argv.slice(2)
const pool = new Pool(url, { connections: Number(producers), pipelining: 1 })
const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
const filler = 'x'.repeat(Number(bytes))
const latencies: number[] = []
const failures = new Map<number, number>()
const end = Date.now() + Number(seconds) * 1_000
let next = 0

async function produce(): Promise<void> {
  while (Date.now() < end) {
    const id = `evt_${Date.now()}_${next++}`
    const started = performance.now()
    const { statusCode, body } = await pool.request({
      path: '/v1/events',
      method: 'POST',
      headers,
      body: `{"id":"${id}","event":"bench.posted","payload":{"n":${next},"filler":"${filler}"}}`,
    })
    await body.dump()
    if (statusCode === 202) latencies.push(performance.now() - started)
    else failures.set(statusCode, (failures.get(statusCode) ?? 0) + 1)
  }
}
const began = Date.now()
await Promise.all(Array.from({ length: Number(producers) }, produce))
const took = (Date.now() - began) / 1_000
latencies.sort((a, b) => a - b)
const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
console.log(
  JSON.stringify({
    accepted: latencies.length,
    perSecond: latencies.length / took,
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99),
    failures: Object.fromEntries(failures),
  }),
)
await pool.close()
