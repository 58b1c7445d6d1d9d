// Usage: node bench/producers.ts '<JSON of Work>'. The producers run in a separate process, which prints the result as one line of JSON.
import { Pool } from 'undici'

export interface Work {
  readonly url: string
  /** The tokens of the clients, which post round robin. */
  readonly tokens: readonly string[]
  /** The event names, which are posted round robin. Each is posted with every token. */
  readonly events: readonly string[]
  readonly seconds: number
  /** The number of events after which a closed loop ends early, or 0 for none. */
  readonly count: number
  readonly bytes: number
  /** Events in one request. With 1, the requests go to /v1/events. */
  readonly batch: number
  /** The number of producers in a closed loop. Each waits for the response before its next request. */
  readonly producers: number
  /**
   * Requests per second in an open loop, or 0 for a closed loop. An open loop does not wait for responses, so that slow responses do not lower the
   * load.
   */
  readonly requestsPerSecond: number
  /** Milliseconds at the start that the percentiles leave out, because what has just begun is slow at first. */
  readonly settlingMs: number
}
export interface Produced {
  readonly accepted: number
  readonly acceptedPerSecond: number
  /**
   * Percentiles of the response time in ms, for responses with 202. In an open loop, the time counts from the moment at which the request was due.
   */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly failures: Readonly<Record<string, number>>
}

const work = JSON.parse(process.argv[2] ?? '{}') as Work
const pool = new Pool(work.url, { connections: work.requestsPerSecond > 0 ? 64 : work.producers, pipelining: 1 })
const filler = 'x'.repeat(work.bytes)
const latencies: number[] = []
const failures = new Map<string, number>()
let accepted = 0
let next = 0

/** The id contains the time in µs, so that the receiver need not parse the body. */
const eventOf = (n: number, at: number): string =>
  `{"id":"evt_${Math.round((performance.timeOrigin + at) * 1_000)}_${n}","event":"${work.events[Math.floor(n / work.tokens.length) % work.events.length]}","payload":{"n":${n},"filler":"${filler}"}}`

async function post(due: number): Promise<void> {
  const token = work.tokens[next % work.tokens.length]
  const events = Array.from({ length: work.batch }, () => eventOf(next++, due))
  try {
    const { statusCode, body } = await pool.request({
      path: work.batch === 1 ? '/v1/events' : '/v1/events/batch',
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: work.batch === 1 ? events[0]! : `{"events":[${events.join(',')}]}`,
    })
    await body.dump()
    if (statusCode !== 202) throw new Error(String(statusCode))
    accepted += work.batch
    if (due >= settledAt) latencies.push(performance.now() - due)
  } catch (error) {
    const { message } = error as Error
    failures.set(message, (failures.get(message) ?? 0) + 1)
  }
}

const began = performance.now()
const end = began + work.seconds * 1_000
const settledAt = began + work.settlingMs
if (work.requestsPerSecond > 0) {
  const posts: Promise<void>[] = []
  for (let n = 0; ; n++) {
    const due = began + (n * 1_000) / work.requestsPerSecond
    if (due > end) break
    const waitMs = due - performance.now()
    if (waitMs > 0.5) await new Promise((resolve) => setTimeout(resolve, waitMs))
    posts.push(post(due))
  }
  await Promise.all(posts)
} else
  await Promise.all(
    Array.from({ length: work.producers }, async () => {
      while (performance.now() < end && !(work.count > 0 && next >= work.count)) await post(performance.now())
    }),
  )
const tookSeconds = (performance.now() - began) / 1_000
latencies.sort((a, b) => a - b)
const percentile = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
const produced: Produced = {
  accepted,
  acceptedPerSecond: accepted / tookSeconds,
  ...{ p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99) },
  failures: Object.fromEntries(failures),
}
console.log(JSON.stringify(produced))
await pool.close()
