// Producers in a process of their own: node bench/producers.ts '<JSON of Work>'. Prints one line of JSON.
import { Pool } from 'undici'
import { settlingMs } from './scenarios.ts'

export interface Work {
  readonly url: string
  /** Posts are spread over these clients. */
  readonly tokens: readonly string[]
  /** Names of events, in turn; each of them with every token. */
  readonly events: readonly string[]
  readonly seconds: number
  readonly bytes: number
  /** Events in one request; 1 posts to /v1/events. */
  readonly batch: number
  /** Closed loop: so many, each posts again when it was answered. */
  readonly producers: number
  /** Open loop: so many requests a second whatever the answers, so that waiting is not hidden. 0: closed. */
  readonly perSecond: number
}
export interface Produced {
  readonly accepted: number
  readonly perSecond: number
  /** Of answers 202, in ms; in an open loop from when the request was due. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly failures: Readonly<Record<string, number>>
}

const work = JSON.parse(process.argv[2] ?? '{}') as Work
const pool = new Pool(work.url, { connections: work.perSecond > 0 ? 64 : work.producers, pipelining: 1 })
const filler = 'x'.repeat(work.bytes)
const latencies: number[] = []
const failures = new Map<string, number>()
let accepted = 0
let next = 0

/** The time stands in the id, in µs, so that the receiver needs to parse nothing. */
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
    if (due >= settled) latencies.push(performance.now() - due)
  } catch (error) {
    const why = (error as Error).message
    failures.set(why, (failures.get(why) ?? 0) + 1)
  }
}

const began = performance.now()
const end = began + work.seconds * 1_000
const settled = began + settlingMs(work)
if (work.perSecond > 0) {
  const posts: Promise<void>[] = []
  for (let n = 0; ; n++) {
    const due = began + (n * 1_000) / work.perSecond
    if (due > end) break
    const early = due - performance.now()
    if (early > 0.5) await new Promise((resolve) => setTimeout(resolve, early))
    posts.push(post(due))
  }
  await Promise.all(posts)
} else
  await Promise.all(
    Array.from({ length: work.producers }, async () => {
      while (performance.now() < end) await post(performance.now())
    }),
  )
const took = (performance.now() - began) / 1_000
latencies.sort((a, b) => a - b)
const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
const produced: Produced = {
  accepted,
  perSecond: accepted / took,
  ...{ p50: at(0.5), p95: at(0.95), p99: at(0.99) },
  failures: Object.fromEntries(failures),
}
console.log(JSON.stringify(produced))
await pool.close()
