import { type Code, loadCode } from './code.ts'
import { codeWithMistake } from './code-with-mistake.ts'
import { minimise } from './minimise.ts'
import { type Profile, planOf, type Step, smallPlan } from './plan.ts'
import { plantedMistakes } from './planted-mistakes.ts'
import { type Play, play } from './play.ts'
import type { Crash } from './simulation.ts'

/** A number of schedules. They are played one after another, until one breaks an invariant. */
export interface Task {
  /** The first and the last seed. */
  readonly seeds: readonly [from: number, to: number]
  readonly profiles: readonly Profile[]
  /** The name of a mistake to plant. Then only the invariants that this mistake must break count. */
  readonly mistake?: string
  /**
   * If set, the small plan is played instead, with a crash before and after each of these calls. The process is killed in one run and frozen in
   * another.
   */
  readonly crashes?: { readonly process: string; readonly calls: readonly [from: number, to: number] }
}
export interface Outcome {
  readonly runs: number
  readonly posts: number
  readonly repeated: number
  /** The number of crashes that happened. */
  readonly crashes: number
  /** The first broken invariant, with the plan and the trace, or null. */
  readonly broken: { readonly seed: number; readonly profile: Profile; readonly text: string } | null
}

let ownCode: Promise<Code> | undefined
async function codeOf(name: string | undefined): Promise<{ code: Code; breaks: readonly string[] | null }> {
  if (name === undefined) {
    ownCode ??= loadCode()
    return { code: await ownCode, breaks: null }
  }
  const mistake = plantedMistakes.find((mistake) => mistake.name === name)
  if (mistake === undefined) throw new Error(`no planted mistake is called ${name}`)
  return { code: await codeWithMistake(mistake), breaks: mistake.breaks }
}

const crashesOf = ({ crashes }: Task): (Crash | undefined)[] => {
  if (crashes === undefined) return [undefined]
  const { process, calls } = crashes
  const all: Crash[] = []
  for (let call = calls[0]; call <= calls[1]; call++)
    for (const phase of ['before', 'after'] as const)
      for (const freeze of [{}, { freezeMs: 5_000 }]) all.push({ process, call, phase, restartMs: 200, ...freeze })
  return all
}

/** Plays the schedules of a task. The clock must be installed. */
export async function perform(task: Task): Promise<Outcome> {
  const { code, breaks } = await codeOf(task.mistake)
  const sum = { runs: 0, posts: 0, repeated: 0, crashes: 0 }
  for (let seed = task.seeds[0]; seed <= task.seeds[1]; seed++)
    for (const profile of task.profiles)
      for (const crash of crashesOf(task)) {
        const plan = task.crashes === undefined ? planOf(seed, profile) : smallPlan
        const run = { seed, profile, code, plan, ...(crash === undefined ? {} : { crash }) }
        const { violations, posts, repeated, crashed } = await play(run)
        sum.runs++
        sum.posts += posts
        sum.repeated += repeated
        if (crashed) sum.crashes++
        const first = breaks === null ? violations[0] : violations.find((violation) => breaks.includes(violation.invariant))
        if (first === undefined) continue
        const text = breaks === null ? await explain(run, first.invariant) : `[${first.invariant}] ${first.text}`
        return { ...sum, broken: { seed, profile, text } }
      }
  return { ...sum, broken: null }
}

/** Returns the smallest plan that breaks the invariant, and its trace. */
export async function explain(run: Play & { readonly plan: readonly Step[] }, invariant: string): Promise<string> {
  const plan = await minimise(run, invariant)
  const { violations, trace } = await play({ ...run, plan, isTracing: true })
  const broken = violations.map((violation) => `[${violation.invariant}] ${violation.text}`)
  const crash = run.crash === undefined ? [] : [JSON.stringify(run.crash)]
  const steps = plan.map((step) => JSON.stringify(step))
  return [`seed ${run.seed} ${run.profile}`, ...broken, 'least plan:', ...crash, ...steps, 'what happens:', ...trace].join('\n')
}
