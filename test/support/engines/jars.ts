import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Why the engines that run on Java cannot be started here, or null when they can. */
export const whyNoJava = (async (): Promise<string | null> => {
  for (const program of ['java', 'mvn'])
    try {
      await run(program, ['-version'])
    } catch {
      return `${program} is not on this machine`
    }
  return null
})()

/** Set where a missing engine is to fail the tests instead of skipping them. */
const enginesAreRequired = env.KOLBAK_TEST_REQUIRE_ENGINES === 'true'

/** In a `before` hook of a suite that needs Java: where there is none it is skipped, aloud, or fails where engines are required. */
export async function needsJava(context: Mocha.Context): Promise<void> {
  const why = await whyNoJava
  if (why === null) return
  if (enginesAreRequired) throw new Error(why)
  console.warn(`    skipped: ${why}`)
  context.skip()
}

/**
 * Fetches the jars that a `pom.xml` names, once: they stay in a cache folder outside the checkout, one folder for each
 * content of the pom. Answers that folder.
 */
export async function jarsOf(engine: 'kafka' | 'cassandra'): Promise<string> {
  const pom = join(import.meta.dirname, engine, 'pom.xml')
  const version = createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 12)
  const cache = env.KOLBAK_TEST_CACHE ?? join(homedir(), '.cache', 'kolbak-tests')
  const folder = join(cache, `${engine}-${version}`)
  if (existsSync(folder)) return folder
  await mkdir(cache, { recursive: true })
  // Into a folder of its own first, so that a fetch that is cut off leaves nothing that looks complete.
  const fetching = await mkdtemp(join(cache, `${engine}-fetching-`))
  try {
    await run('mvn', ['-B', '-q', '-f', pom, 'dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${fetching}`], {
      maxBuffer: 64 << 20,
    })
    await rename(fetching, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error // another run was faster
    })
  } finally {
    await rm(fetching, { recursive: true, force: true })
  }
  return folder
}
