import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { env } from 'node:process'

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}
/** The variables of this process that a program needs: the search path, and the folder for compiled code. */
export const inherited = Object.fromEntries(Object.entries(env).filter(([name]) => ['PATH', 'NODE_COMPILE_CACHE'].includes(name)))

/**
 * Runs a program of src/, such as `operate.ts`, to its end. The program gets only these variables.
 * @param encoding `latin1` for a program whose output is not text
 */
export const runProgram = (
  file: string,
  args: readonly string[],
  variables: Record<string, string>,
  encoding: BufferEncoding = 'utf8',
): Promise<Ended> =>
  new Promise((resolve) => {
    const path = join(import.meta.dirname, '../../src', file)
    execFile(
      process.execPath,
      [path, ...args],
      { env: { ...inherited, ...variables }, encoding, maxBuffer: 64 << 20 },
      (error, stdout, err) => resolve({ code: error === null ? 0 : Number(error.code), out: stdout, err }),
    )
  })
