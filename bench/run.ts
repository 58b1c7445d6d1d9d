// Usage: npm run bench [-- --scenarios single,batch,latency --seconds 6 --profile <folder> --engines kafka,cassandra]
// It measures Kolbak as a user runs it: one process, embedded Postgres, fsync on. Producers and receiver are separate processes. The same run also
// measures the floor (floor.ts), which is the cheapest program that could do the job. It prints a table and writes JSON.
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
    /** The folder for a CPU profile of the service. */
    profile: { type: 'string' },
    /** Repeats each scenario on these engines. For EventStoreDB the double of the tests is used, so its figures mean little. */
    engines: { type: 'string', default: '' },
  },
})
const chosenScenarios = options.scenarios.split(',').map((name) => {
  if (name in scenarios) return name as ScenarioName
  throw new Error(`there is no scenario ${name}; choose from ${Object.keys(scenarios).join(', ')}`)
})
const seconds = Number(options.seconds)
const bytes = Number(options.bytes)
const engines = options.engines.split(',').filter((name) => name !== '') as Engine[]
/**
 * The load before each measurement. It is needed because code that has run only a few hundred times is slower than code that has run for a minute.
 */
const warmUp = { producers: 8, perSecond: 0, batch: 1, seconds: 10 }

async function measureKolbak(receiverUrl: string, scenario: Scenario, variables: Record<string, string> = {}): Promise<Result> {
  const kolbak = await startKolbak(receiverUrl, scenario, { profile: options.profile, variables })
  try {
    const target = targetOf(kolbak)
    const { tokens, events, deliveriesPerEvent } = kolbak
    await drive(target, receiverUrl, { ...warmUp, tokens, events, bytes }, deliveriesPerEvent)
    return await drive(target, receiverUrl, { ...scenario.work, tokens, events, seconds, bytes }, deliveriesPerEvent)
  } finally {
    await kolbak.stop()
  }
}

async function measureFloor(receiverUrl: string, work: Scenario['work']): Promise<Result> {
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

// In one scenario, a tenth of the responses is 503. Short retry delays let all events arrive before the end.
process.env.KOLBAK_RETRY_DELAYS ??= '1,1,1,1,1,1,1,1'
const results: Record<string, Result & { shareOfFloor?: number; p50OfFloor?: number; p99OfFloor?: number }> = {}
try {
  const receiverUrl = await lineOf(start('receiver.ts', []), (line) => line)
  const floors = new Set<'single' | 'latency'>(chosenScenarios.map((name) => scenarios[name].floor))
  for (const name of floors) results[`floor: ${name}`] = await measureFloor(receiverUrl, scenarios[name].work)
  for (const name of chosenScenarios) {
    const scenario: Scenario = scenarios[name]
    const floor = results[`floor: ${scenario.floor}`]!
    const withShares = (result: Result) => ({
      ...result,
      shareOfFloor: result.deliveredPerSecond / floor.deliveredPerSecond,
      p50OfFloor: result.endToEndMs[0] / floor.endToEndMs[0],
      p99OfFloor: result.endToEndMs[2] / floor.endToEndMs[2],
    })
    results[name] = withShares(await measureKolbak(receiverUrl, scenario))
    if (engines.length === 0) continue
    await useEngines(engines)
    results[`${name}, on ${options.engines}`] = withShares(await measureKolbak(receiverUrl, scenario, await enginesFor(name)))
    await endEngines()
  }
} finally {
  killAll()
  await Promise.all([stopKafka(), stopCassandra()])
}
const format = (value: number | undefined | null) => (value == null ? '' : value >= 100 ? String(Math.round(value)) : value.toFixed(2))
console.table(
  Object.fromEntries(
    Object.entries(results).map(([name, result]) => [
      name,
      {
        'accepted/s': format(result.acceptedPerSecond),
        'delivered/s': format(result.deliveredPerSecond),
        'of floor': format(result.shareOfFloor),
        'accept p50/p99': `${format(result.acceptMs[0])} / ${format(result.acceptMs[2])}`,
        'end to end p50/p99': `${format(result.endToEndMs[0])} / ${format(result.endToEndMs[2])}`,
        'of floor p50/p99': result.p50OfFloor === undefined ? '' : `${format(result.p50OfFloor)} / ${format(result.p99OfFloor)}`,
        'lost/repeated': `${result.lost} / ${result.duplicated}`,
        'cpu µs node/pg': `${format(result.cpuMicros)} / ${format(result.postgresCpuMicros)}`,
        'written B': format(result.writtenBytes),
        'peak MiB': format(result.peakMiB),
        commits: format(result.commitsPerEvent),
      },
    ]),
  ),
)
for (const [name, { failures }] of Object.entries(results))
  if (Object.keys(failures).length > 0) console.log(`${name}: requests that were not accepted: ${JSON.stringify(failures)}`)
const file = join(import.meta.dirname, 'results', `${new Date().toISOString().replaceAll(':', '-')}.json`)
await mkdir(join(import.meta.dirname, 'results'), { recursive: true })
await writeFile(file, `${JSON.stringify({ options, results }, null, 2)}\n`)
console.log(`The results are in ${file}.`)
