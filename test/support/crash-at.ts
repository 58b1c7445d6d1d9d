import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { env, kill, pid } from 'node:process'
import { type Point, steps } from '../../src/events/steps.ts'

/** A death that is to come: just before or just after the count-th passing of a point. */
export interface Crash {
  readonly point: Point
  readonly moment: 'before' | 'after'
  readonly count: number
  /** Counted from SIGUSR2 on, or from the start of a process that starts while this crash is the next. */
  readonly from: 'signal' | 'start'
}

/** Written whole, then moved: a process may read it at any moment. */
export async function writePlan(file: string, crashes: readonly Crash[]): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(crashes))
  await rename(`${file}.new`, file)
}

/*
 * Loaded into processes of the service (`node --import`), it kills them with SIGKILL as the file CRASH_PLAN says: the crashes
 * of its list one after another, each in whichever process comes to it first. Each point is said once, as a line of the log.
 */
const path = env.CRASH_PLAN

const read = (from: string): Crash[] => JSON.parse(readFileSync(from, 'utf8')) as Crash[]
const aMoment = new Int32Array(new SharedArrayBuffer(4))
/** The plan; it is away for a moment while a process takes its crash out of it. */
const planned = (file: string): Crash[] => {
  for (let tries = 0; ; tries++)
    try {
      return read(file)
    } catch (error) {
      if (tries === 1_000) throw error
      Atomics.wait(aMoment, 0, 0, 1)
    }
}
/** The crash is this process's: the list is moved away, which only one process can do. */
const take = (file: string, crash: Crash): boolean => {
  const mine = `${file}.${pid}`
  try {
    renameSync(file, mine)
  } catch {
    return false // another one is dying of it
  }
  const [first, ...rest] = read(mine)
  const isMine = JSON.stringify(first) === JSON.stringify(crash)
  writeFileSync(mine, JSON.stringify(isMine ? rest : read(mine)))
  renameSync(mine, file)
  return isMine
}

if (path !== undefined) {
  let next: Crash | undefined
  let left = 0
  const arm = (from: Crash['from']) => {
    const [first] = planned(path)
    if (first?.from !== from) return
    next = first
    left = first.count
  }
  arm('start')
  process.on('SIGUSR2', () => arm('signal'))

  const said = new Set<Point>()
  const passing = (point: Point, moment: Crash['moment']) => {
    if (next?.point === point && next.moment === moment && --left === 0 && take(path, next)) kill(pid, 'SIGKILL')
    if (moment === 'before' || said.has(point)) return
    said.add(point)
    process.stdout.write(`${JSON.stringify({ msg: 'point.passed', point })}\n`)
  }
  steps.start.subscribe((context) => passing((context as { point: Point }).point, 'before'))
  steps.asyncEnd.subscribe((context) => {
    const { point, error } = context as { point: Point; error?: unknown }
    if (error === undefined) passing(point, 'after')
  })
}
