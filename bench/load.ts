import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { env } from 'node:process'
import { promisify } from 'node:util'
import { request } from 'undici'
import { fetchJson } from './kolbak.ts'
import { lineOf, start, startProgram } from './processes.ts'
import type { Produced, Work } from './producers.ts'
import type { Received } from './receiver.ts'

/** The producers and the receiver of the benchmark, outside of its own process. */
export interface Load {
  /** The origin of the receiver. */
  readonly url: string
  /** Whether the load is the compiled program, which costs little CPU. Otherwise the load runs in Node, and takes a third of the CPU of the machine. */
  readonly isCompiled: boolean
  /** Sends a load, and returns when all responses have arrived. */
  produce(work: Work): Promise<Produced>
  received(): Promise<Received>
  /** Sets all counts to 0. The percentiles leave out the first `settlingMs` of the next load. */
  reset(settlingMs: number): Promise<void>
}

/** Starts the program in bench/load. Without a Go toolchain, starts the producers and the receiver that run in Node. */
export async function startLoad(): Promise<Load> {
  const program = await compile()
  const receiver = program === null ? start('receiver.ts', []) : startProgram(program)
  const url = await lineOf(receiver, (line) => line)
  return {
    url,
    isCompiled: program !== null,
    produce: (work) =>
      program === null
        ? lineOf(start('producers.ts', [JSON.stringify(work)]), (line) => JSON.parse(line) as Produced)
        : request(`${url}/produce`, { method: 'POST', body: JSON.stringify(work), headersTimeout: 0 }).then(
            ({ body }) => body.json() as Promise<Produced>,
          ),
    received: () => fetchJson<Received>(url),
    async reset(settlingMs) {
      await fetchJson(`${url}/reset?settling=${settlingMs}`)
    },
  }
}

const sources = join(import.meta.dirname, 'load')
const cache = join(import.meta.dirname, '../node_modules/.cache/bench')

/** Returns the path of the compiled program, or null if there is no Go toolchain. It is compiled again when its source has changed. */
async function compile(): Promise<string | null> {
  const hash = createHash('sha256')
  for (const name of (await readdir(sources)).sort()) hash.update(await readFile(join(sources, name)))
  const program = join(cache, `load-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(program)) return program
  await mkdir(cache, { recursive: true })
  const unfinished = `${program}.${process.pid}`
  for (const go of ['go', '/usr/local/go/bin/go'])
    try {
      await promisify(execFile)(go, ['build', '-o', unfinished, '.'], {
        cwd: sources,
        env: { ...env, GOTOOLCHAIN: 'local', GOWORK: 'off' },
      })
      await rename(unfinished, program) // another bench may compile the same program at this moment
      return program
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  return null
}
