import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { env } from 'node:process'

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}
/** Runs a program of ours to its end, such as `operate.ts`, with these variables and no others. */
export const runProgram = (file: string, args: readonly string[], variables: Record<string, string>): Promise<Ended> =>
  new Promise((resolve) => {
    const path = join(import.meta.dirname, '../../src', file)
    execFile(process.execPath, [path, ...args], { env: { PATH: env.PATH, ...variables } }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
  })
