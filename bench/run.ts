// npm run bench [-- --scenarios single,batch,latency --seconds 6 --profile <folder> --engines kafka,cassandra]
// Kolbak as a user runs it (its own process, the embedded default, fsync on), a generator and a receiver in processes of their
// own, and beside it, in the same run, the floor: the cheapest program that could do the job. Prints tables, writes JSON.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Engine, endEngines, enginesFor, useEngines } from '../test/support/engine-sets.ts'
import { stopCassandra } from '../test/support/engines/cassandra.ts'
import { stopKafka } from '../test/support/engines/kafka.ts'
import { drive, type Result, type Target, targetOf } from './drive.ts'
import { startKolbak } from './kolbak.ts'
import { killAll, lineOf, start, stop } from './processes.ts'
import { type Scenario, type ScenarioName, scenarios } from './scenarios.ts'

const { values: options } = parseArgs({
  options: {
    scenarios: { type: 'string', default: Object.keys(scenarios).join(',') },
    seconds: { type: 'string', default: '6' },
    bytes: { type: 'string', default: '512' },
    /** A folder for a CPU profile of the service. */
    profile: { type: 'string' },
    /** Each scenario once more with these behind the ports (EventStoreDB: its double of the tests, which says little). */
    engines: { type: 'string', default: '' },
  },
})
const chosen = options.scenarios.split(',').map((name) => {
  if (name in scenarios) return name as ScenarioName
  throw new Error(`no scenario ${name}: ${Object.keys(scenarios).join(', ')}`)
})
const seconds = Number(options.seconds)
const bytes = Number(options.bytes)
const engines = options.engines.split(',').filter((name) => name !== '') as Engine[]
/** Of either, whatever is measured then: code that has run a few hundred times is not yet what it is after a minute. */
const warmUp = { producers: 8, perSecond: 0, batch: 1, seconds: 10 }

async function onKolbak(receiverUrl: string, scenario: Scenario, variables: Record<string, string> = {}): Promise<Result> {
  const kolbak = await startKolbak(receiverUrl, scenario, { profile: options.profile, variables })
  try {
    const target = targetOf(kolbak)
    const { tokens, events, copies } = kolbak
    await drive(target, receiverUrl, { ...warmUp, tokens, events, bytes }, copies)
    return await drive(target, receiverUrl, { ...scenario.work, tokens, events, seconds, bytes }, copies)
  } finally {
    await kolbak.stop()
  }
}

async function onFloor(receiverUrl: string, work: Scenario['work']): Promise<Result> {
  const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-floor-'))
  const floor = start('floor.ts', [receiverUrl, dataDir])
  try {
    const url = await lineOf(floor, (line) => line)
    const target: Target = { url, dataDir, pids: async () => [floor.pid ?? 0], commits: async () => -1 }
    const load = { ...work, tokens: [''], events: ['bench.w0'], bytes }
    await drive(target, receiverUrl, { ...load, ...warmUp }, 1)
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
    const floor = results[`floor: ${scenario.floor}`]!
    const compared = (result: Result) => ({
      ...result,
      shareOfFloor: result.deliveredPerSecond / floor.deliveredPerSecond,
      p50OfFloor: result.endToEndMs[0] / floor.endToEndMs[0],
      p99OfFloor: result.endToEndMs[2] / floor.endToEndMs[2],
    })
    results[name] = compared(await onKolbak(receiverUrl, scenario))
    if (engines.length === 0) continue
    await useEngines(engines)
    results[`${name}, on ${options.engines}`] = compared(await onKolbak(receiverUrl, scenario, await enginesFor(name)))
    await endEngines()
  }
} finally {
  killAll()
  await Promise.all([stopKafka(), stopCassandra()])
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
