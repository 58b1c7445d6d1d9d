import { setEpoch } from './clock.ts'
import type { Code } from './code.ts'
import { happen } from './happenings.ts'
import { Invariants } from './invariants.ts'
import { calmAt, type Profile, planOf, type Step } from './plan.ts'
import { type Crash, Simulation } from './simulation.ts'
import { type Violation, World } from './world.ts'

/** If the world is not at rest at this virtual time, it counts as stuck. */
const endAt = 90_000
const lookMs = 250

export interface Play {
  readonly seed: number
  readonly profile: Profile
  readonly code: Code
  /** The plan to play. Default: the plan of the seed and profile. */
  readonly plan?: readonly Step[]
  readonly crash?: Crash
  readonly isTracing?: boolean
}
export interface Played {
  readonly violations: readonly Violation[]
  readonly posts: number
  readonly repeated: number
  readonly steps: number
  readonly trace: readonly string[]
  /** The number of calls of each process before its first end. */
  readonly calls: ReadonlyMap<string, number>
  readonly crashed: boolean
}

/** Plays a plan against the code and checks the invariants. The clock must be installed. */
export async function play({ seed, profile, code, plan = planOf(seed, profile), crash, isTracing = false }: Play): Promise<Played> {
  const simulation = new Simulation(seed, isTracing)
  setEpoch(simulation, Date.UTC(2026, 0, 1, ...(seed % 4 === 0 ? [23, 59, 57] : [12, 0, 0])))
  if (crash !== undefined) simulation.crashes.push(crash)
  const firstLives = new Map<string, { calls: number }>()
  const world = new World(simulation, code, {
    dispatchers: seed % 5 === 0 ? 3 : 2,
    projectors: seed % 2 === 0 ? 2 : 1,
    partitions: 2,
    slots: seed % 3 === 0 ? 2 : 4,
    hasLogWriter: seed % 3 === 1,
    hasErasures: plan.some(({ kind }) => kind === 'erase'),
    // A bus that writes the index together with a record is on Postgres, where records can be changed.
    erasesRecords: seed % 2 === 0 || plan.some((step) => 'by' in step),
  })
  for (const name of ['api', 'dispatcher1', 'dispatcher2', 'projector1', 'projector2'])
    firstLives.set(name, simulation.lifeOf(name) ?? { calls: 0 })
  const invariants = new Invariants(world)
  for (const step of plan) simulation.at(step.at, () => happen(world, step))
  simulation.at(calmAt, () => {
    simulation.downUntil.clear()
    simulation.failing.until = 0
  })
  let next = calmAt + 1_000
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0 // There are many errors here, and their stacks are not used.
  const isResting = () => {
    if (simulation.now < next) return false
    next = simulation.now + lookMs
    return invariants.unrest().length === 0
  }
  try {
    if (!(await simulation.run(endAt, isResting))) world.violate('stuck', invariants.unrest().join('; '))
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
  // When a process stops or starts, partitions change their owners, and messages in progress may be redelivered.
  const isStill = profile === 'benign' && !plan.some(({ kind }) => kind === 'stop')
  const { posts, repeated } = invariants.judge(isStill)
  return {
    violations: world.violations,
    posts,
    repeated,
    steps: simulation.steps,
    trace: simulation.trace,
    calls: new Map([...firstLives].map(([name, life]) => [name, life.calls])),
    crashed: simulation.fired.length > 0,
  }
}
