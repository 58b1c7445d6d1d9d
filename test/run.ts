// Runs all tests in five processes side by side. The output of the first process appears at once, and that of each other one when it has ended. With
// KOLBAK_TEST_FULL=true, it runs the whole matrix of the tests that cause faults, one after another. At the end it prints when each process began and
// ended, and which files took longest. The last line is `N passed, N failed[, N skipped]`, for any CI.
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants, setPriority } from 'node:os'
import { join } from 'node:path'
import { enginesAreRequired, findMissing, tellMissing } from './support/engines/jars.ts'
import { realServer } from './support/event-store-server.ts'
import { isFull } from './support/is-full.ts'

const root = join(import.meta.dirname, '..')
const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')
const matrix = /^test\/(faults|model|ui)\/|distributed|cassandra-engine|bad-input/
const files = globSync('test/**/*.test.ts', { cwd: root })
  .sort()
  .filter((file) => !isFull || matrix.test(file))
interface Lane {
  readonly files: RegExp
  /**
   * Lanes that run before the others. `measuring` lanes measure latencies or have fixed loads, so only each other and `computing` lanes run beside
   * them. A `computing` lane has the lowest priority. It needs no time of its own, because it uses the processor while other lanes wait.
   */
  readonly first?: 'measuring' | 'computing'
}
/**
 * The groups of test files that each run in one process. A file belongs to the first lane that it matches. After the first lanes, the others begin in
 * this order, the longest first, and as many run at once as `maxAtOnce` says. Each lane starts the engines that it needs once. Therefore the files that
 * need Kafka or Cassandra are in few lanes, and those that kill them are in others. The full matrix is one lane, because its measurements need the
 * whole machine. On a real EventStoreDB all tests are one lane too, because there is only one server.
 */
const lanes: readonly Lane[] =
  isFull || realServer !== null
    ? [{ files: /./ }]
    : [
        { files: /^test\/faults\/neighbours/, first: 'measuring' },
        { files: /^test\/faults\/crash-points/, first: 'measuring' },
        { files: /^test\/model\//, first: 'computing' },
        { files: /^test\/(contracts\/.*kafka|e2e\/(engines|move)\.|faults\/restore\.)/ },
        { files: /^test\/(contracts\/.*cassandra|e2e\/distributed\.)/ },
        { files: /^test\/(?!contracts|e2e|faults|ui)/ },
        { files: /^test\/contracts\// },
        { files: /^test\/e2e\/(backup|cli|data-folder|own-postgres|readme|start|terminal|upgrade)\./ },
        { files: /^test\/ui\// },
        { files: /^test\/e2e\/[p-z]/ },
        { files: /^test\/faults\/(?!engines|eventstoredb|kill|random|poison|clock)/ },
        { files: /^test\/e2e\// },
        { files: /^test\/faults\/(kill|random|poison|clock)/ },
        { files: /^test\/faults\// },
      ]
const maxAtOnce = 5
const filesOf = (lane: Lane) => files.filter((file) => lanes.find((candidate) => candidate.files.test(file)) === lane)

// The jars of the engines are fetched before the tests, because that takes a minute the first time.
const missing = await findMissing()
const warnings = Object.entries(missing).map(([engine, why]) => `${engine} cannot be started: ${why}`)
const consequence = enginesAreRequired ? 'The tests that need it fail.' : 'The tests that need it are skipped.'

interface Ended {
  readonly lane: Lane
  readonly output: string
  readonly code: number | null
  /** Seconds after the beginning of this program at which the lane began and ended. */
  readonly from: number
  readonly to: number
}
const seconds = () => Math.round(performance.now() / 1_000)
const run = (lane: Lane): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const from = seconds()
    // A test that failed is tried once more. The reporter names it.
    const child = spawn(process.execPath, [mocha, '--retries', '1', ...filesOf(lane)], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      // The service is started a hundred times. With a cache of compiled code it starts in half the time.
      env: { ...process.env, NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'), ...tellMissing(missing) },
    })
    if (lane.first === 'computing' && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (lane === lanes[0]) process.stdout.write(chunk)
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ lane, output: Buffer.concat(chunks).toString(), code, from, to: seconds() }))
  })

for (const warning of warnings) console.warn(`${warning}. ${consequence}`)
const ended: Ended[] = []
/** Runs one lane after another, as long as there are lanes that no other runner has begun. */
async function runLanes(waiting: Iterable<Lane>): Promise<void> {
  for (const lane of waiting) {
    const result = await run(lane)
    ended.push(result)
    if (lane !== lanes[0]) process.stdout.write(result.output)
  }
}
const lanesOf = (first: Lane['first']) => lanes.filter((lane) => lane.first === first && filesOf(lane).length > 0)
const computing = lanesOf('computing').map((lane) => runLanes([lane]))
await Promise.all(lanesOf('measuring').map((lane) => runLanes([lane])))
const others = lanesOf(undefined).values()
await Promise.all([...computing, ...Array.from({ length: maxAtOnce }, () => runLanes(others))])
const counts = ended.map(({ output, code }) => {
  const line = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/m.exec(output)
  // A process without a line of counts has ended early, which counts as a failure.
  if (line === null) return { passed: 0, failed: 1, skipped: 0 }
  const failed = Number(line[2])
  return { passed: Number(line[1]), failed: failed === 0 && code !== 0 ? 1 : failed, skipped: Number(line[3] ?? 0) }
})
// Tests that failed, were tried again or were skipped are printed again here, because a CI often shows only the end of its log.
for (const { output } of ended) {
  const failures = /^ +\d+ failing$[\s\S]*?(?=^\d+ passed, )/m.exec(output)
  if (failures !== null) console.log(`\n${failures[0].trimEnd()}\n`)
}
for (const { output } of ended) for (const [line] of output.matchAll(/^ +tried again: .*$/gm)) console.log(line.trim())
for (const { lane, from, to } of ended) console.log(`from ${from} s to ${to} s: ${lane.files.source}`)
const times = ended.flatMap(({ output }) =>
  [...output.matchAll(/^ +(\d+) s: (test\/.+)$/gm)].map(([, took, file]) => [Number(took), file] as const),
)
for (const [took, file] of times.sort(([a], [b]) => b - a).slice(0, 20)) console.log(`${took} s: ${file}`)
for (const warning of warnings) console.log(`${warning}. ${consequence}`)
const sum = (count: 'passed' | 'failed' | 'skipped') => counts.reduce((total, each) => total + each[count], 0)
console.log(`${sum('passed')} passed, ${sum('failed')} failed${sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : ''}`)
process.exitCode = sum('failed') === 0 ? 0 : 1
