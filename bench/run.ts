// npm run bench [-- --scenarios single,batch,latency --seconds 6 --profile <folder>]
// Kolbak as a user runs it (its own process, the embedded default, fsync on), a generator and a receiver in processes of their
// own, and beside it, in the same run, the floor: the cheapest program that could do the job. Prints tables, writes JSON.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { json, startKolbak } from './kolbak.ts'
import { costOf, killAll, lineOf, postgresPids, start, stop } from './processes.ts'
import type { Produced, Work } from './producers.ts'
import type { Received } from './receiver.ts'
import { type Scenario, type ScenarioName, scenarios } from './scenarios.ts'

const { values: options } = parseArgs({
  options: {
    scenarios: { type: 'string', default: Object.keys(scenarios).join(',') },
    seconds: { type: 'string', default: '6' },
    bytes: { type: 'string', default: '512' },
    /** A folder for a CPU profile of the service. */
    profile: { type: 'string' },
  },
})
const chosen = options.scenarios.split(',').map((name) => {
  if (name in scenarios) return name as ScenarioName
  throw new Error(`no scenario ${name}: ${Object.keys(scenarios).join(', ')}`)
})
const seconds = Number(options.seconds)
interface Result {
  readonly accepted: number
  readonly acceptedPerSecond: number
  readonly delivered: number
  readonly deliveredPerSecond: number
  readonly acceptMs: readonly [p50: number, p95: number, p99: number]
  readonly endToEndMs: readonly [p50: number, p95: number, p99: number]
  readonly lost: number
  readonly duplicated: number
  readonly failures: Produced['failures']
  /** µs of CPU for each event, of the process and of its Postgres. */
  readonly cpuMicros: number
  readonly postgresCpuMicros: number
  /** Bytes written to disk for each event, by both. */
  readonly writtenBytes: number
  readonly peakMiB: number
  readonly commitsPerEvent: number | null
}
interface Target {
  readonly url: string
  readonly pid: number
  readonly dataDir: string
  commits(): Promise<number>
}
/** Drives one load at a target until what is due has arrived, or nothing more does for a while. */
async function drive(target: Target, receiverUrl: string, work: Omit<Work, 'url' | 'bytes'>, copies: number): Promise<Result> {
  await json(`${receiverUrl}/reset`)
  const costs = async () => ({
    own: await costOf([target.pid]),
    pg: await costOf(await postgresPids(target.dataDir)),
    commits: await target.commits(),
  })
  const before = await costs()
  const began = performance.now()
  const full: Work = { ...work, url: target.url, bytes: Number(options.bytes) }
  const produced = await lineOf(start('producers.ts', [JSON.stringify(full)]), (line) => JSON.parse(line) as Produced)
  const due = produced.accepted * copies
  let received = await json<Received>(receiverUrl)
  let lastChange = performance.now()
  let took = lastChange - began
  while (received.messages < due && performance.now() - lastChange < 10_000) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const now = await json<Received>(receiverUrl)
    if (now.messages > received.messages) {
      lastChange = performance.now()
      took = lastChange - began
    }
    received = now
  }
  const after = await costs()
  const each = (of: number) => of / produced.accepted
  return {
    accepted: produced.accepted,
    acceptedPerSecond: produced.perSecond,
    delivered: received.messages,
    deliveredPerSecond: received.messages / (took / 1_000),
    acceptMs: [produced.p50, produced.p95, produced.p99],
    endToEndMs: [received.p50, received.p95, received.p99],
    lost: Math.max(0, due - received.messages),
    duplicated: received.deliveries - received.messages,
    failures: produced.failures,
    cpuMicros: each((after.own.cpu - before.own.cpu) * 1e6),
    postgresCpuMicros: each((after.pg.cpu - before.pg.cpu) * 1e6),
    writtenBytes: each(after.own.written - before.own.written + after.pg.written - before.pg.written),
    peakMiB: after.own.peak / 2 ** 20,
    commitsPerEvent: after.commits < 0 ? null : each(after.commits - before.commits),
  }
}

async function onKolbak(receiverUrl: string, scenario: Scenario): Promise<Result> {
  const kolbak = await startKolbak(receiverUrl, scenario, options.profile)
  try {
    const target: Target = {
      ...{ url: kolbak.url, dataDir: kolbak.dataDir, pid: kolbak.pid },
      async commits() {
        await kolbak.database.query('select pg_stat_force_next_flush()')
        const { rows } = await kolbak.database.query('select xact_commit from pg_stat_database where datname = current_database()')
        return Number(rows[0].xact_commit)
      },
    }
    const { tokens, events, copies } = kolbak
    await drive(target, receiverUrl, { ...scenario.work, tokens, events, seconds: 2 }, copies) // warm
    return await drive(target, receiverUrl, { ...scenario.work, tokens, events, seconds }, copies)
  } finally {
    await kolbak.stop()
  }
}

async function onFloor(receiverUrl: string, work: Scenario['work']): Promise<Result> {
  const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-floor-'))
  const floor = start('floor.ts', [receiverUrl, dataDir])
  try {
    const url = await lineOf(floor, (line) => line)
    const target: Target = { url, dataDir, pid: floor.pid ?? 0, commits: async () => -1 }
    const load = { ...work, tokens: [''], events: ['bench.w0'] }
    await drive(target, receiverUrl, { ...load, seconds: 2 }, 1)
    const result = await drive(target, receiverUrl, { ...load, seconds }, 1)
    await stop(floor)
    return result
  } finally {
    floor.kill('SIGKILL')
    await rm(dataDir, { recursive: true, force: true })
  }
}

// A tenth of the answers of one scenario is a 503: soon tried again, so that all has arrived at the end.
process.env.KOLBAK_RETRY_DELAYS ??= '1,1,1,1,1,1,1,1'
const results: Record<string, Result & { shareOfFloor?: number; p50OfFloor?: number; p99OfFloor?: number }> = {}
try {
  const receiverUrl = await lineOf(start('receiver.ts', []), (line) => line)
  const floors = new Set<'single' | 'latency'>(chosen.map((name) => scenarios[name].floor))
  for (const name of floors) results[`floor: ${name}`] = await onFloor(receiverUrl, scenarios[name].work)
  for (const name of chosen) {
    const scenario: Scenario = scenarios[name]
    const result = await onKolbak(receiverUrl, scenario)
    const floor = results[`floor: ${scenario.floor}`]!
    results[name] = {
      ...result,
      shareOfFloor: result.deliveredPerSecond / floor.deliveredPerSecond,
      p50OfFloor: result.endToEndMs[0] / floor.endToEndMs[0],
      p99OfFloor: result.endToEndMs[2] / floor.endToEndMs[2],
    }
  }
} finally {
  killAll()
}
const short = (value: number | undefined | null) => (value == null ? '' : value >= 100 ? String(Math.round(value)) : value.toFixed(2))
console.table(
  Object.fromEntries(
    Object.entries(results).map(([name, r]) => [
      name,
      {
        'accepted/s': short(r.acceptedPerSecond),
        'delivered/s': short(r.deliveredPerSecond),
        'of floor': short(r.shareOfFloor),
        'accept p50/p99': `${short(r.acceptMs[0])} / ${short(r.acceptMs[2])}`,
        'end to end p50/p99': `${short(r.endToEndMs[0])} / ${short(r.endToEndMs[2])}`,
        'of floor p50/p99': r.p50OfFloor === undefined ? '' : `${short(r.p50OfFloor)} / ${short(r.p99OfFloor)}`,
        'lost/dup': `${r.lost} / ${r.duplicated}`,
        'cpu µs node/pg': `${short(r.cpuMicros)} / ${short(r.postgresCpuMicros)}`,
        'written B': short(r.writtenBytes),
        'peak MiB': short(r.peakMiB),
        commits: short(r.commitsPerEvent),
      },
    ]),
  ),
)
for (const [name, { failures }] of Object.entries(results))
  if (Object.keys(failures).length > 0) console.log(`${name}: not accepted: ${JSON.stringify(failures)}`)
const file = join(import.meta.dirname, 'results', `${new Date().toISOString().replaceAll(':', '-')}.json`)
await mkdir(join(import.meta.dirname, 'results'), { recursive: true })
await writeFile(file, `${JSON.stringify({ options, results }, null, 2)}\n`)
console.log(file)
