import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The engines that run on Java. Their jars come from Maven's registry. */
export type JavaEngine = 'kafka' | 'cassandra'
export const javaEngines: readonly JavaEngine[] = ['kafka', 'cassandra']
/** The oldest Java on which both engines run. */
const oldestJava = 17

export const jarsOf = (engine: JavaEngine): Promise<string> => jarsFrom(engine, join(import.meta.dirname, engine, 'pom.xml'))

/**
 * Returns the folder with the jars that a `pom.xml` names. The jars are fetched once. They stay in a cache outside the checkout, in one folder for
 * each content of the pom. Throws an error with a whole sentence if they cannot be fetched.
 */
export async function jarsFrom(name: string, pom: string): Promise<string> {
  const version = createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 12)
  const cache = env.KOLBAK_TEST_CACHE ?? join(homedir(), '.cache', 'kolbak-tests')
  const folder = join(cache, `${name}-${version}`)
  if (existsSync(folder)) return folder
  await mkdir(cache, { recursive: true })
  // The jars are first fetched into a folder with another name, so that an interrupted fetch leaves no folder that looks complete.
  const fetching = await mkdtemp(join(cache, `${name}-fetching-`))
  try {
    const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${fetching}`]
    await run('mvn', ['-B', '-q', '-Dstyle.color=never', '-f', pom, ...goal], { maxBuffer: 64 << 20 }).catch((error: unknown) => {
      throw new Error(`mvn cannot fetch the jars of ${name}: ${firstErrorOf(error)}`, { cause: error })
    })
    await rename(fetching, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error // another run has created the folder meanwhile
    })
  } finally {
    await rm(fetching, { recursive: true, force: true })
  }
  return folder
}

/** Returns the first error that mvn printed, because it names the cause, or else the error's own message. */
function firstErrorOf(error: unknown): string {
  const { code, stdout = '', message } = error as { code?: unknown; stdout?: string; message: string }
  if (code === 'ENOENT') return 'mvn is not on this machine'
  return /\[ERROR\] (\S.*)/.exec(stdout)?.[1] ?? message.split('\n')[0]!
}

async function whyNoJava(): Promise<string | null> {
  // Java prints its version on stderr: `openjdk version "17.0.12"`.
  const printed = await run('java', ['-version']).catch(() => null)
  if (printed === null) return 'java is not on this machine'
  const major = Number(/version "(\d+)/.exec(printed.stderr + printed.stdout)?.[1])
  return major < oldestJava ? `java is version ${major}, and version ${oldestJava} is needed` : null
}

/** Returns the reason for each engine that cannot be started here. */
export type Missing = Partial<Record<JavaEngine, string>>

/** Finds out which engines cannot be started here, and fetches the jars of the others. The first time this takes a minute. */
export async function findMissing(engines: readonly JavaEngine[] = javaEngines): Promise<Missing> {
  const missing: Missing = {}
  const noJava = await whyNoJava()
  for (const engine of engines) {
    const why =
      noJava ??
      (await jarsOf(engine).then(
        () => null,
        (error: Error) => error.message,
      ))
    if (why !== null) missing[engine] = why
  }
  return missing
}

/** The variable in which `test/run.ts` passes `Missing` (as JSON) to its processes. Without it, each process calls `findMissing`. */
const missingVariable = 'KOLBAK_TEST_MISSING'
export const tellMissing = (missing: Missing): Record<string, string> => ({ [missingVariable]: JSON.stringify(missing) })

const reasons = new Map<JavaEngine, Promise<string | undefined>>()
const whyMissing = (engine: JavaEngine): Promise<string | undefined> => {
  const missingJars =
    env[missingVariable] === undefined ? findMissing([engine]) : Promise.resolve(JSON.parse(env[missingVariable]) as Missing)
  const reason = reasons.get(engine) ?? missingJars.then((missing) => missing[engine])
  reasons.set(engine, reason)
  return reason
}

/** Whether an engine that cannot be started fails the tests that need it. Otherwise they are skipped. */
export const enginesAreRequired = env.KOLBAK_TEST_REQUIRE_ENGINES === 'true' || (env.CI ?? 'false') !== 'false'

/** Skips the suite, with the reason, if an engine cannot be started, or fails it if engines are required. Call this in a `before` hook. */
export async function needsEngines(context: Mocha.Context, engines: readonly string[]): Promise<void> {
  for (const engine of javaEngines.filter((name) => engines.includes(name))) {
    const why = await whyMissing(engine)
    if (why === undefined) continue
    if (enginesAreRequired) throw new Error(`${engine} cannot be started: ${why}`)
    console.warn(`    skipped, because ${engine} cannot be started: ${why}`)
    context.skip()
  }
}
