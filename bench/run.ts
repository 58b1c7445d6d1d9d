// Usage: npm run bench [-- --scenarios single,batch,latency --seconds 6 --rounds 3 --profile <folder> --engines kafka,cassandra]
// It measures Kolbak as a user runs it: one process, embedded Postgres, fsync on. Producers and receiver are separate processes. The same run also
// measures the floor (floor.ts), which is the cheapest program that could do the job. The scenarios take turns in each round, and the table shows
// the medians of all rounds. It prints the table and writes JSON.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { embeddedPostgres } from '../test/support/embedded-postgres.ts'
import { type Engine, endEngines, enginesFor, useEngines } from '../test/support/engine-sets.ts'
import { stopCassandra } from '../test/support/engines/cassandra.ts'
import { stopKafka } from '../test/support/engines/kafka.ts'
import { type AtRest, measureAtRest, measureLoad, type Result, type Target, targetOf } from './drive.ts'
import { openDeliveryStream, startKolbak } from './kolbak.ts'
import { type Load, startLoad } from './load.ts'
import { killAll, lineOf, start, stop } from './processes.ts'
import { type Figures, mediansOf, rowOf } from './report.ts'
import { type Scenario, type ScenarioName, scenarios } from './scenarios.ts'

const { values: options } = parseArgs({
  options: {
    scenarios: { type: 'string', default: Object.keys(scenarios).join(',') },
    seconds: { type: 'string', default: '6' },
    /** Seconds of the load before each measurement. */
    'warm-up': { type: 'string', default: '10' },
    /** The number of measurements of each scenario, which takes turns with the others. */
    rounds: { type: 'string', default: '3' },
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
const rounds = Number(options.rounds)
const bytes = Number(options.bytes)
const engines = options.engines.split(',').filter((name) => name !== '') as Engine[]
/**
 * The load before each measurement. It is needed because code that has run only a few hundred times is slower than code that has run for a minute.
 */
const warmUp = { producers: 8, requestsPerSecond: 0, batch: 1, seconds: Number(options['warm-up']) }
/** Seconds of a measurement at rest. The service settles for the first seconds after its start, and is measured afterwards. */
const atRestSeconds = { settling: 20, measured: 5 * seconds }

async function measureKolbak(load: Load, scenario: Scenario, variables: Record<string, string> = {}): Promise<Result | AtRest> {
  const kolbak = await startKolbak(load.url, scenario, { profile: options.profile, variables })
  try {
    const target = targetOf(kolbak)
    const { tokens, events, deliveriesPerEvent } = kolbak
    const { secondsFactor = 1, ...work } = scenario.work
    if (work.batch === 0) return await measureAtRest(target, atRestSeconds.settling, atRestSeconds.measured)
    if (scenario.isWatched) await openDeliveryStream(kolbak)
    await measureLoad(target, load, { ...warmUp, tokens, events, bytes }, deliveriesPerEvent)
    return await measureLoad(target, load, { ...work, tokens, events, seconds: seconds * secondsFactor, bytes }, deliveriesPerEvent)
  } finally {
    await kolbak.stop()
  }
}

async function measureFloor(load: Load, { secondsFactor = 1, ...work }: Scenario['work']): Promise<Result> {
  const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-floor-'))
  const floor = start('floor.ts', [load.url, dataDir])
  let database: pg.Client | undefined
  try {
    const url = await lineOf(floor, (line) => line)
    database = new pg.Client((await embeddedPostgres(dataDir)).url)
    await database.connect()
    const target: Target = { url, dataDir, pids: async () => [floor.pid ?? 0], database }
    const common = { tokens: [''], events: ['bench.w0'], bytes }
    await measureLoad(target, load, { ...common, ...warmUp }, 1)
    return await measureLoad(target, load, { ...common, ...work, seconds: seconds * secondsFactor }, 1)
  } finally {
    await database?.end()
    await stop(floor)
    await rm(dataDir, { recursive: true, force: true })
  }
}

// In one scenario, a tenth of the responses is 503. Short retry delays let all events arrive before the end.
process.env.KOLBAK_RETRY_DELAYS ??= '1,1,1,1,1,1,1,1'
/** The figures of each round, by the name of the scenario. */
const measured = new Map<string, Figures[]>()
const note = (name: string, figures: Figures) => measured.set(name, [...(measured.get(name) ?? []), figures])
let isCompiled = true
try {
  const load = await startLoad()
  isCompiled = load.isCompiled
  for (let round = 1; round <= rounds; round++) {
    if (rounds > 1) console.error(`round ${round} of ${rounds}`)
    const floors = new Map<Scenario['floor'], Result>()
    for (const name of chosenScenarios) {
      const scenario: Scenario = scenarios[name]
      if (scenario.floor !== null && !floors.has(scenario.floor)) {
        const result = await measureFloor(load, scenarios[scenario.floor].work)
        floors.set(scenario.floor, result)
        note(`floor: ${scenario.floor}`, { result })
      }
      const floor = floors.get(scenario.floor)
      note(name, { result: await measureKolbak(load, scenario), floor })
      if (engines.length === 0) continue
      await useEngines(engines)
      note(`${name}, on ${options.engines}`, { result: await measureKolbak(load, scenario, await enginesFor(name)), floor })
      await endEngines()
    }
  }
} finally {
  killAll()
  await Promise.all([stopKafka(), stopCassandra()])
}
const results = Object.fromEntries([...measured].map(([name, figures]) => [name, mediansOf(figures)]))
console.table(Object.fromEntries(Object.entries(results).map(([name, medians]) => [name, rowOf(medians)])))
for (const [name, figures] of measured)
  for (const { result } of figures)
    if ('failures' in result && Object.keys(result.failures).length > 0)
      console.log(`${name}: requests that were not accepted: ${JSON.stringify(result.failures)}`)
console.log(
  isCompiled
    ? 'Producers and receiver were the compiled program bench/load.'
    : 'There is no Go toolchain, so producers and receiver ran in Node. They took much of the machine: do not compare these figures with others.',
)
const file = join(import.meta.dirname, 'results', `${new Date().toISOString().replaceAll(':', '-')}.json`)
await mkdir(join(import.meta.dirname, 'results'), { recursive: true })
await writeFile(file, `${JSON.stringify({ options, isCompiled, results, measured: Object.fromEntries(measured) }, null, 2)}\n`)
console.log(`The results are in ${file}.`)
