// Usage: npm run soak [-- --minutes 5 --share 0.7]
// It measures the capacity of Kolbak, and then runs Kolbak for minutes at a share of it. The exit code is 1 if an event was lost, or if a value grows
// that should stay constant: memory, open files, timers and sockets, connections, unread records, projection lag.
import { readdir, readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { startKolbak } from './kolbak.ts'
import { startLoad } from './load.ts'
import { killAll, postgresPids } from './processes.ts'
import type { Received } from './receiver.ts'

const { values: options } = parseArgs({ options: { minutes: { type: 'string', default: '5' }, share: { type: 'string', default: '0.7' } } })
const seconds = Number(options.minutes) * 60
const everyMs = 5_000
const warmSeconds = Math.min(60, seconds / 4)

/** The values that must not grow. The median of the last third may be at most `factor` times that of the first third, plus `plus`. */
const gauges = {
  'memory of node, MiB': { factor: 1.15, plus: 16 },
  'memory of Postgres, MiB': { factor: 1.25, plus: 32 },
  'open files': { factor: 1, plus: 16 },
  'timers, sockets and the like': { factor: 1, plus: 24 },
  connections: { factor: 1, plus: 4 },
  'records unread': { factor: 1.5, plus: 200 },
  'projections behind, s': { factor: 1, plus: 1 },
} as const
type Sample = Record<keyof typeof gauges, number>

const anonymousMiB = async (pids: readonly number[]) => {
  let kib = 0
  for (const pid of pids) kib += Number(/RssAnon:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))?.[1] ?? 0)
  return kib / 1_024
}

// One receiver responds to a tenth of the requests with 503. Short retry delays let all events arrive before the end.
process.env.KOLBAK_RETRY_DELAYS ??= '1,1,1,1,1,1,1,1'
let kolbak: Awaited<ReturnType<typeof startKolbak>> | undefined
try {
  const load = await startLoad()
  kolbak = await startKolbak(load.url, { tenants: 10, webhooksPerTenant: 2, fanout: false, paths: ['/hook', '/failing'] })
  const { url, pid, dataDir, admin, tokens, events, database } = kolbak
  const common = { url, tokens, events, bytes: 512, batch: 1, count: 0, settlingMs: 0 }
  const warm = await load.produce({ ...common, seconds: 5, producers: 32, requestsPerSecond: 0 })
  /** Waits until `count` deliveries have arrived since the last reset, at most 60 s. */
  const waitForArrival = async (count: number): Promise<Received> => {
    for (let waited = 0; ; waited += 100) {
      const received = await load.received()
      if (received.deliveries >= count || waited > 60_000) return received
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await waitForArrival(warm.accepted)
  await load.reset(0)
  const capacityStart = performance.now()
  const { accepted: acceptedAtCapacity } = await load.produce({ ...common, seconds: 10, producers: 32, requestsPerSecond: 0 })
  await waitForArrival(acceptedAtCapacity)
  const capacity = (acceptedAtCapacity * 1_000) / (performance.now() - capacityStart)
  const requestsPerSecond = Math.floor(capacity * Number(options.share))
  console.log(
    `Kolbak can accept and deliver ${Math.round(capacity)} events/s. The soak runs at ${requestsPerSecond}/s for ${options.minutes} minutes.`,
  )
  await load.reset(0)

  const sample = async (): Promise<Sample> => {
    const metrics = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${admin}` } })).text()
    const largest = (name: string) =>
      Math.max(0, ...[...metrics.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'))].map((match) => Number(match[1])))
    const { rows } = await database.query("select count(*)::int as n from pg_stat_activity where application_name like 'kolbak %'")
    return {
      'memory of node, MiB': await anonymousMiB([pid]),
      'memory of Postgres, MiB': await anonymousMiB(await postgresPids(dataDir)),
      'open files': (await readdir(`/proc/${pid}/fd`)).length,
      'timers, sockets and the like': largest('nodejs_active_resources_total'),
      connections: rows[0].n,
      'records unread': largest('kolbak_records_unread'),
      'projections behind, s': largest('kolbak_projection_lag_seconds'),
    }
  }
  const samples: (Sample & { at: number })[] = []
  const began = performance.now()
  const producing = load.produce({ ...common, seconds, producers: 0, requestsPerSecond })
  while (performance.now() - began < seconds * 1_000) {
    await new Promise((resolve) => setTimeout(resolve, everyMs))
    samples.push({ at: (performance.now() - began) / 1_000, ...(await sample()) })
  }
  const produced = await producing
  const received = await waitForArrival(produced.accepted)

  const warmSamples = samples.filter(({ at }) => at > warmSeconds)
  const third = Math.floor(warmSamples.length / 3)
  const median = (samplesOfThird: readonly Sample[], name: keyof Sample) =>
    samplesOfThird.map((sample) => sample[name]).sort((a, b) => a - b)[Math.floor(samplesOfThird.length / 2)]!
  const names = Object.keys(gauges) as (keyof Sample)[]
  const verdicts = names.map((name) => {
    const { factor, plus } = gauges[name]
    const [first, last] = [median(warmSamples.slice(0, third), name), median(warmSamples.slice(-third), name)]
    const largest = Math.max(...warmSamples.map((sample) => sample[name]))
    return { name, first, last, largest, 'is constant': last <= first * factor + plus }
  })
  const round = (value: number) => Math.round(value * 10) / 10
  console.table(
    Object.fromEntries(
      verdicts.map(({ name, first, last, largest, ...rest }) => [name, { ...mapped({ first, last, largest }, round), ...rest }]),
    ),
  )
  const lostDeliveries = produced.accepted - received.deliveries
  console.log(
    `${produced.accepted} events accepted, ${lostDeliveries} lost, ${received.requests - received.deliveries} repeated. p50 / p99 in ms: accept ${round(produced.p50)} / ${round(produced.p99)}, end to end ${round(received.p50)} / ${round(received.p99)}. Requests that were not accepted: ${JSON.stringify(produced.failures)}`,
  )
  if (lostDeliveries > 0 || verdicts.some((verdict) => !verdict['is constant'])) process.exitCode = 1
} finally {
  await kolbak?.stop()
  killAll()
}

function mapped<K extends string>(record: Record<K, number>, change: (value: number) => number): Record<string, number> {
  return Object.fromEntries(Object.entries<number>(record).map(([name, value]) => [name, change(value)]))
}
