// All tests, in five processes side by side: the first shows what it does as it goes, the others when they have ended. With
// KOLBAK_TEST_FULL=true the whole matrix of those that break things, one after another. Closes with one plain line: `N passed, N failed[, N skipped]`.
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants, setPriority } from 'node:os'
import { join } from 'node:path'
import { jarsOf, whyNoJava } from './support/engines/jars.ts'
import { isFull } from './support/is-full.ts'

const root = join(import.meta.dirname, '..')
const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')
const matrix = /^test\/(faults|model)\/|distributed|cassandra-engine/
const files = globSync('test/**/*.test.ts', { cwd: root })
  .sort()
  .filter((file) => !isFull || matrix.test(file))
interface Lane {
  readonly files: RegExp
  /** It computes and waits for nothing: it takes what the others leave, so that what they measure is not of its making. */
  readonly yields?: boolean
}
/**
 * A file belongs to the first lane that it matches; they take about the same time. Each lane starts the engines that it needs once, so
 * what needs Kafka or Cassandra is together, but for what kills them. What the matrix measures is to have the machine for itself.
 */
const lanes: readonly Lane[] = isFull
  ? [{ files: /./ }]
  : [
      { files: /^test\/(contracts\/.*(kafka|cassandra)|e2e\/(distributed|engines|move)\.)/ },
      { files: /^test\/faults\// },
      { files: /^test\/model\//, yields: true },
      { files: /^test\/(e2e|dispatch|projections|commands)\// },
      { files: /./ },
    ]
const filesOf = (lane: Lane) => files.filter((file) => lanes.find((one) => one.files.test(file)) === lane)

interface Ended {
  readonly output: string
  readonly code: number | null
}
const run = (lane: Lane): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [mocha, '--retries', '1', ...filesOf(lane)], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      // The service is started a hundred times: compiled once, it starts in half the time.
      env: { ...process.env, NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled') },
    })
    if (lane.yields && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL)
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (lane === lanes[0]) process.stdout.write(chunk)
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ output: Buffer.concat(chunks).toString(), code }))
  })

// The first time this takes a minute, which no test is to wait for. Without Java those tests say themselves that they are skipped.
if ((await whyNoJava) === null)
  for (const engine of ['kafka', 'cassandra'] as const)
    await jarsOf(engine).catch((error: unknown) => console.error(`The jars of ${engine} cannot be fetched; its tests will fail:`, error))

// Once more where the machine was too busy, and aloud: the reporter says which.
const ended = await Promise.all(lanes.map(run))
for (const { output } of ended.slice(1)) process.stdout.write(output)
const counts = ended.map(({ output, code }) => {
  const found = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/m.exec(output)
  // One that ended before it could count has failed, whatever it says.
  if (found === null) return { passed: 0, failed: 1, skipped: 0 }
  const failed = Number(found[2])
  return { passed: Number(found[1]), failed: failed === 0 && code !== 0 ? 1 : failed, skipped: Number(found[3] ?? 0) }
})
// Once more what failed: a report of a CI often shows only the end.
for (const { output } of ended) {
  const failures = /^ +\d+ failing$[\s\S]*?(?=^\d+ passed, )/m.exec(output)
  if (failures !== null) console.log(`\n${failures[0].trimEnd()}\n`)
}
const sum = (of: 'passed' | 'failed' | 'skipped') => counts.reduce((all, count) => all + count[of], 0)
console.log(`${sum('passed')} passed, ${sum('failed')} failed${sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : ''}`)
process.exitCode = sum('failed') === 0 ? 0 : 1
