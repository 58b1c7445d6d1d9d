// Runs the table of faults on clusters of three (`npm run test:cluster`), with mocha's arguments, for example `-g Cassandra`. It takes a quarter of an
// hour, so it is no part of `npm test`. CLUSTER_ROUNDS says how often each fault is caused (1), and CLUSTER_POSTS_PER_SECOND the load (60).
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { findMissing, tellMissing } from '../support/engines/jars.ts'

const root = join(import.meta.dirname, '../..')
const missing = await findMissing()
const reasons = Object.entries(missing).map(([engine, why]) => `${engine} cannot be started: ${why}.`)
if (reasons.length > 0) {
  console.error(`${reasons.join('\n')}\nThe tests of clusters need Java 17 or newer, and mvn, which fetches the servers once.`)
  process.exitCode = 1
} else {
  const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')
  const child = spawn(process.execPath, [mocha, 'test/cluster/faults.cluster.ts', ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...tellMissing(missing) },
  })
  child.once('close', (code) => {
    process.exitCode = code ?? 1
  })
}
