import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { env, kill, pid } from 'node:process'
import { type Point, steps } from '../../src/events/steps.ts'

/** A planned death of a process, just before or just after it passes a point for the count-th time. */
export interface Crash {
  readonly point: Point
  readonly moment: 'before' | 'after'
  readonly count: number
  /**
   * The moment at which a process begins to count: when it gets SIGUSR2, or when it starts. In both cases this crash must be the first in the plan.
   */
  readonly from: 'signal' | 'start'
}

/** Writes the plan to another file and then renames it, because a process may read the plan at any moment. */
export async function writePlan(file: string, crashes: readonly Crash[]): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(crashes))
  await rename(`${file}.new`, file)
}

/*
 * Processes of the service load this module by `node --import`. The module kills them with SIGKILL as the file CRASH_PLAN says. The crashes of the
 * list happen one after another, each in the process that reaches it first. The log gets one line for each point that is passed.
 */
const path = env.CRASH_PLAN

const read = (from: string): Crash[] => JSON.parse(readFileSync(from, 'utf8')) as Crash[]
const aMoment = new Int32Array(new SharedArrayBuffer(4))
/** Reads the plan. It tries again while the file is missing, because a process that removes its crash renames the file for a moment. */
const planned = (file: string): Crash[] => {
  for (let tries = 0; ; tries++)
    try {
      return read(file)
    } catch (error) {
      if (tries === 1_000) throw error
      Atomics.wait(aMoment, 0, 0, 1)
    }
}
/** Removes the crash from the plan. Returns whether this process must die. Only one process gets true, because only one can rename the file. */
const take = (file: string, crash: Crash): boolean => {
  const ownFile = `${file}.${pid}`
  try {
    renameSync(file, ownFile)
  } catch {
    return false // another process has taken the crash
  }
  const [first, ...following] = read(ownFile)
  const isMine = JSON.stringify(first) === JSON.stringify(crash)
  writeFileSync(ownFile, JSON.stringify(isMine ? following : read(ownFile)))
  renameSync(ownFile, file)
  return isMine
}

if (path !== undefined) {
  let next: Crash | undefined
  let remaining = 0
  const arm = (from: Crash['from']) => {
    const [first] = planned(path)
    if (first?.from !== from) return
    next = first
    remaining = first.count
  }
  arm('start')
  process.on('SIGUSR2', () => arm('signal'))

  const loggedPoints = new Set<Point>()
  const passing = (point: Point, moment: Crash['moment']) => {
    if (next?.point === point && next.moment === moment && --remaining === 0 && take(path, next)) kill(pid, 'SIGKILL')
    if (moment === 'before' || loggedPoints.has(point)) return
    loggedPoints.add(point)
    process.stdout.write(`${JSON.stringify({ msg: 'point.passed', point })}\n`)
  }
  steps.start.subscribe((context) => passing((context as { point: Point }).point, 'before'))
  steps.asyncEnd.subscribe((context) => {
    const { point, error } = context as { point: Point; error?: unknown }
    if (error === undefined) passing(point, 'after')
  })
}
