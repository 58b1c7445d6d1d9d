import { type ChildProcess, spawn } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { embeddedPostgres } from '../test/support/embedded-postgres.ts'

const children: ChildProcess[] = []

/** Starts a file of this folder as a separate process. Its standard output is read by `lineOf`. */
export function start(
  file: string,
  args: readonly string[],
  env: Record<string, string> = {},
  flags: readonly string[] = [],
): ChildProcess {
  return startProgram(process.execPath, [...flags, join(import.meta.dirname, file), ...args], env)
}
/** Starts any program as a separate process. */
export function startProgram(program: string, args: readonly string[] = [], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return child
}
export function killAll(): void {
  for (const child of children) child.kill('SIGKILL')
}
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exited
}

/** Reads lines until `parse` returns a value, and returns that value. */
export async function lineOf<T>(child: ChildProcess, parse: (line: string) => T | undefined): Promise<T> {
  for await (const line of createInterface({ input: child.stdout! })) {
    const value = parse(line)
    if (value === undefined) continue
    child.stdout?.resume()
    return value
  }
  throw new Error('a process of the benchmark ended early')
}

export interface Cost {
  /** Seconds of CPU, user and system. */
  readonly cpu: number
  /** Bytes that were written to disk. */
  readonly written: number
  /** Memory in bytes. A page that several processes share counts in parts (PSS), so that the sum over all processes counts it once. */
  readonly memory: number
}
/** Returns the cost of the processes so far, including that of their ended children. Works on Linux; elsewhere returns 0. */
export async function costOf(pids: readonly number[]): Promise<Cost> {
  const costs = await Promise.all(pids.map(costOfProcess))
  const sum = (part: (cost: Cost) => number) => costs.reduce((total, cost) => total + part(cost), 0)
  return { cpu: sum((cost) => cost.cpu), written: sum((cost) => cost.written), memory: sum((cost) => cost.memory) }
}
async function costOfProcess(pid: number): Promise<Cost> {
  const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')
  const [stat, io, memory] = await Promise.all([read('stat'), read('io'), read('smaps_rollup')])
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const number = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0)
  return {
    // Fields 13 and 14 are the times of ended children.
    cpu: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0) + Number(fields[13] ?? 0) + Number(fields[14] ?? 0)) / 100,
    written: number(io, /write_bytes: (\d+)/),
    memory: number(memory, /^Pss:\s+(\d+)/m) * 1_024,
  }
}
/** Returns the ids of the postmaster and its backends. */
export const postgresPids = async (dataDir: string): Promise<number[]> => withChildren((await embeddedPostgres(dataDir)).pid)
/** Returns the ids of a process and its children. */
export async function withChildren(parent: number): Promise<number[]> {
  const pids = [parent]
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) pids.push(Number(name))
  }
  return pids
}
