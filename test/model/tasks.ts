import { type Code, loadCode } from './code.ts'
import { minimise } from './minimise.ts'
import { mutant } from './mutants.ts'
import { mutations } from './mutations.ts'
import { type Profile, planOf } from './plan.ts'
import { play } from './play.ts'
import type { Crash } from './simulation.ts'

/** Schedules to be played one after another, until one breaks an invariant. */
export interface Task {
  /** Both ends included. */
  readonly seeds: readonly [from: number, to: number]
  readonly profiles: readonly Profile[]
  /** The name of a mistake to be planted; then only the invariants that it is to break count. */
  readonly mutation?: string
}
export interface Outcome {
  readonly runs: number
  readonly posts: number
  readonly repeated: number
  /** What broke first, with all that is needed to see it happen. */
  readonly broken: { readonly seed: number; readonly profile: Profile; readonly text: string } | null
}

let own: Promise<Code> | undefined
async function codeOf(name: string | undefined): Promise<{ code: Code; breaks: readonly string[] | null; remove(): Promise<void> }> {
  own ??= loadCode()
  if (name === undefined) return { code: await own, breaks: null, remove: async () => {} }
  const mutation = mutations.find((one) => one.name === name)
  if (mutation === undefined) throw new Error(`there is no mutation ${name}`)
  return { ...(await mutant(mutation)), breaks: mutation.breaks }
}

/** Plays the task's schedules. The clock has to be installed. */
export async function perform({ seeds, profiles, mutation }: Task): Promise<Outcome> {
  const { code, breaks, remove } = await codeOf(mutation)
  const sum = { runs: 0, posts: 0, repeated: 0 }
  try {
    for (let seed = seeds[0]; seed <= seeds[1]; seed++)
      for (const profile of profiles) {
        const { violations, posts, repeated } = await play({ seed, profile, code })
        sum.runs++
        sum.posts += posts
        sum.repeated += repeated
        const first = breaks === null ? violations[0] : violations.find(({ of }) => breaks.includes(of))
        if (first === undefined) continue
        const text = breaks === null ? await explain(code, seed, profile, first.of) : `[${first.of}] ${first.text}`
        return { ...sum, broken: { seed, profile, text } }
      }
    return { ...sum, broken: null }
  } finally {
    await remove()
  }
}

/** The least plan of a seed that breaks the invariant, and what happens in it. */
export async function explain(code: Code, seed: number, profile: Profile, invariant: string, crash?: Crash): Promise<string> {
  const of = { seed, profile, code, ...(crash === undefined ? {} : { crash }) }
  const plan = await minimise({ ...of, plan: planOf(seed, profile) }, invariant)
  const { violations, trace } = await play({ ...of, plan, isTracing: true })
  const told = violations.map((violation) => `[${violation.of}] ${violation.text}`)
  return [`seed ${seed} ${profile}`, ...told, 'least plan:', ...plan.map((step) => JSON.stringify(step)), 'what happens:', ...trace].join(
    '\n',
  )
}
