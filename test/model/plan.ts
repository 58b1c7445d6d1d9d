import { type Random, randomFrom } from './random.ts'
import type { Mode } from './receivers.ts'
import type { Engine } from './simulation.ts'

export type Hook = 'A' | 'B' | 'C' | 'D' | 'E' | 'Z'
/** A dispatcher that is also an API. It stores and indexes what is posted to it in one statement. */
export type Producer = 'dispatcher1' | 'dispatcher2'
/** A step of a plan, and the virtual milliseconds at which it happens. */
export type Step = { readonly at: number } & (
  | { readonly kind: 'create'; readonly hook: Hook; readonly thenPost?: string; readonly by?: Producer }
  | { readonly kind: 'change' | 'activate' | 'deactivate' | 'delete'; readonly hook: Hook }
  /** Somebody asks to erase the payload of a message, or a legal hold forbids it. The hook names the tenant. */
  | { readonly kind: 'erase'; readonly message: string; readonly hook: Hook }
  | { readonly kind: 'hold'; readonly hook: Hook }
  | { readonly kind: 'suspend' | 'resume' | 'partition' | 'forget' | 'rewind' | 'garbage' | 'faulty' }
  | {
      readonly kind: 'post'
      /** The ids of the messages in one record. */
      readonly messages: readonly string[]
      readonly content: string
      readonly target?: Hook
      readonly isTwice?: boolean
      /** The process that is also the API of this post. Default: the process that is only an API. */
      readonly by?: Producer
    }
  | { readonly kind: 'replay'; readonly message: string; readonly hook: Hook }
  /** Somebody with the password of the event store appends an attempt. Its event is a copy of a genuine failure with another end. */
  | { readonly kind: 'forge'; readonly hook: Hook; readonly as: 'DeliverySucceeded' | 'DeliveryDeadLettered' }
  | { readonly kind: 'respond'; readonly hook: Hook; readonly mode: Mode }
  | { readonly kind: 'stopReaders'; readonly family: 'webhook' | 'attempts'; readonly ms: number }
  | { readonly kind: 'lag'; readonly ms: number }
  | { readonly kind: 'outage'; readonly engine: Engine; readonly ms: number }
  | { readonly kind: 'calls'; readonly probability: number; readonly ms: number }
  | { readonly kind: 'kill' | 'freeze' | 'stop'; readonly process: string; readonly ms: number }
  | {
      readonly kind: 'hit'
      readonly process: string
      readonly calls: number
      readonly phase: 'before' | 'after'
      readonly freezeMs?: number
    }
  | { readonly kind: 'revoke'; readonly partition: number }
)
/** The profile `benign` has no fault that may repeat a request. */
export type Profile = 'benign' | 'faulty'

/** After this virtual time no step and no failure happens, so the world must come to rest. */
export const calmAt = 4_000

type Add = (at: number, step: Omit<Step, 'at'> & { kind: Step['kind'] }) => void

function work(random: Random, profile: Profile, add: Add): void {
  const { int, chance, pick } = random
  for (const hook of ['A', 'B', 'C'] as const) add(int(0, 30), { kind: 'create', hook } as never)
  const from = profile === 'benign' ? 1_000 : 200
  add(int(from + 100, 2_000), { kind: 'create', hook: 'D', ...(chance(0.5) ? { thenPost: 'mD' } : {}) } as never)
  const posts = int(1, 5)
  const post = (messages: readonly string[], content: string, fields: object = {}) =>
    add(int(from, 3_500), { kind: 'post', messages, content, ...(chance(0.1) ? { isTwice: true } : {}), ...fields } as never)
  for (let i = 1; i <= posts; i++) {
    post(chance(0.2) ? [`m${i}`, `n${i}`] : [`m${i}`], 'x')
    if (chance(0.25)) post([`m${i}`], 'x')
    if (chance(0.2)) post([`m${i}`], 'y')
  }
  if (chance(0.15)) post(['test'], 'x', { target: pick(['D', 'Z']) })
  const isBusy = chance(0.4)
  for (let i = isBusy ? int(2, 6) : int(0, 2); i > 0; i--)
    add(int(800, 4_500), { kind: 'replay', message: `m${int(1, isBusy ? 2 : posts)}`, hook: pick(['A', 'B', 'C']) } as never)
  if (isBusy) for (const hook of ['A', 'B']) add(from, { kind: 'respond', hook, mode: pick(['slow', 'hang', '503', 'ok']) } as never)
  const modes: Mode[] = ['ok', '503', '503', 'hang', 'slow', '410', ...(profile === 'faulty' ? (['lost'] as const) : [])]
  for (let i = int(0, 4); i > 0; i--) add(int(0, 4_000), { kind: 'respond', hook: pick(['A', 'B', 'C', 'D']), mode: pick(modes) } as never)
  if (chance(0.2)) {
    add(int(300, 3_000), { kind: 'respond', hook: 'A', mode: 'moved' } as never)
    add(int(600, 4_000), { kind: 'change', hook: 'A' } as never)
  }
  if (chance(0.15)) {
    const at = int(500, 4_000)
    add(at, { kind: 'deactivate', hook: 'B' } as never)
    if (chance(0.5)) add(at + int(200, 1_500), { kind: 'activate', hook: 'B' } as never)
  }
  if (chance(0.1)) add(int(500, 4_000), { kind: 'delete', hook: 'B' } as never)
  if (chance(0.3)) {
    const at = int(200, 3_500)
    add(at, { kind: 'suspend' })
    if (chance(0.7)) add(at + int(200, 2_500), { kind: 'resume' })
  }
  if (chance(0.1)) add(int(500, 4_000), { kind: 'garbage' })
  if (chance(0.3)) add(calmAt, { kind: 'respond', hook: pick(['A', 'B']), mode: '503' } as never)
}
function faults(random: Random, profile: Profile, add: Add): void {
  const { int, chance, pick } = random
  const isFaulty = profile === 'faulty'
  const dispatchers = ['dispatcher1', 'dispatcher2']
  const processes = ['api', ...dispatchers, ...dispatchers, 'projector1', 'projector2']
  for (let i = int(0, 2); i > 0; i--)
    add(int(100, 3_600), { kind: 'stopReaders', family: pick(['webhook', 'attempts']), ms: int(100, 2_500) } as never)
  for (let i = int(0, 2); i > 0; i--) {
    const engine = pick(['postgres', 'events', 'bus', 'log'] as const)
    const longestMs = isFaulty ? 3_000 : engine === 'postgres' || engine === 'bus' ? 600 : 2_500
    // A process that joins late takes over partitions, and messages in progress there may be redelivered.
    const earliest = engine === 'bus' && !isFaulty ? 1_000 : 0
    add(Math.max(earliest, int(100, 3_500)), { kind: 'outage', engine, ms: int(50, longestMs) } as never)
  }
  if (chance(0.2)) add(int(1_500, 3_600), { kind: 'stop', process: pick(dispatchers), ms: 0 } as never)
  if (!isFaulty) return
  if (chance(0.2)) add(int(200, 3_500), { kind: 'partition' })
  for (let i = int(0, 3); i > 0; i--) add(int(100, 3_900), { kind: 'kill', process: pick(processes), ms: int(20, 1_000) } as never)
  for (let i = int(0, 2); i > 0; i--)
    add(int(100, 3_600), {
      kind: 'hit',
      process: pick(processes),
      calls: int(1, 40),
      phase: pick(['before', 'after']),
      ...(chance(0.4) ? { freezeMs: int(300, 6_000) } : {}),
    } as never)
  for (let i = int(0, 2); i > 0; i--) add(int(100, 3_900), { kind: 'freeze', process: pick(processes), ms: int(200, 6_000) } as never)
  for (let i = int(0, 2); i > 0; i--) add(int(100, 3_900), { kind: 'revoke', partition: int(0, 1) } as never)
  for (let i = int(0, 2); i > 0; i--)
    add(int(100, 3_500), { kind: 'calls', probability: pick([0.05, 0.2, 0.5]), ms: int(100, 1_500) } as never)
  // A freeze can make a lease of a partition lapse and be renewed. A frozen projector later continues with events that it had read before.
  if (chance(0.3)) add(int(300, 3_500), { kind: 'freeze', process: pick(dispatchers), ms: int(2_200, 3_000) } as never)
  const projector = { process: pick(['projector1', 'projector2']), phase: 'before', freezeMs: int(300, 3_000) }
  if (chance(0.3)) add(int(100, 3_500), { kind: 'hit', calls: int(1, 30), ...projector } as never)
  if (chance(0.3)) add(int(100, 3_500), { kind: 'forget' })
  if (chance(0.15)) add(int(800, 3_500), { kind: 'rewind' })
}

/** Adds commands that conflict with each other, while an append can conflict with an event that cannot be read yet. */
function concurrentCommands(at: number, add: Add): void {
  add(at - 100, { kind: 'lag', ms: 1_000 } as never)
  for (const kind of ['change', 'deactivate', 'activate'] as const) add(at, { kind, hook: 'A' } as never)
}

/** Adds posts to dispatchers, beside what can make their matches old, their ids duplicates, and their partitions those of another process. */
function postsToDispatchers({ int, chance, pick }: Random, profile: Profile, add: Add): void {
  const from = profile === 'benign' ? 1_000 : 200
  const anyone = (): Producer => pick(['dispatcher1', 'dispatcher2'])
  const post = (at: number, messages: readonly string[], content = 'x') =>
    add(at, { kind: 'post', messages, content, by: anyone() } as never)
  for (let i = int(1, 4); i > 0; i--) {
    const at = int(from, 3_500)
    post(at, chance(0.3) ? [`p${i}`, `q${i}`] : [`p${i}`])
    if (chance(0.4)) post(at + int(0, 40), chance(0.5) ? [`r${i}`, `p${i}`] : [`p${i}`], chance(0.3) ? 'y' : 'x')
    if (profile === 'benign') continue
    if (chance(0.3)) add(at + int(0, 10), { kind: 'revoke', partition: int(0, 1) } as never)
    if (chance(0.3)) add(at - 1, { kind: 'hit', process: anyone(), calls: int(1, 6), phase: pick(['before', 'after']) } as never)
  }
  if (chance(0.4)) {
    const at = int(from + 100, 2_500)
    add(at, { kind: 'stopReaders', family: 'webhook', ms: 800 } as never)
    add(at + 10, { kind: 'create', hook: 'E', thenPost: 'pE', by: anyone() } as never)
    post(at + int(200, 700), ['pF'])
  }
  if (profile === 'faulty' && chance(0.3)) {
    const at = int(500, 3_000)
    add(at, { kind: 'rewind' })
    if (chance(0.5)) add(at + 1, { kind: 'stopReaders', family: 'webhook', ms: 300 } as never)
    for (let i = 1; i <= 8; i++) post(at + 50 + i * 15, [`s${i}`])
  }
}

/** Returns the workload and the faults of a seed. */
export function planOf(seed: number, profile: Profile): Step[] {
  const plan: Step[] = []
  const random = randomFrom(seed + (profile === 'faulty' ? 1_000_000 : 0))
  const add: Add = (at, step) => plan.push({ at, ...step } as Step)
  work(random, profile, add)
  faults(random, profile, add)
  // The next steps come from a separate generator, so that they do not change the rest of the plan.
  const { chance, int } = randomFrom(seed + 2_000_000)
  if (chance(0.1)) add(int(500, 3_500), { kind: 'faulty' })
  if (chance(0.1)) concurrentCommands(int(300, 2_500), add)
  const ofDispatchers = randomFrom(seed + 3_000_000)
  if (ofDispatchers.chance(0.3)) postsToDispatchers(ofDispatchers, profile, add)
  const ofForger = randomFrom(seed + 4_000_000)
  if (ofForger.chance(0.1)) {
    const hook = ofForger.pick(['A', 'B'] as const)
    const as = ofForger.pick(['DeliverySucceeded', 'DeliveryDeadLettered'] as const)
    add(ofForger.int(0, 500), { kind: 'respond', hook, mode: '503' } as never)
    add(ofForger.int(900, 3_500), { kind: 'forge', hook, as } as never)
  }
  const ofEraser = randomFrom(seed + 5_000_000)
  if (ofEraser.chance(0.2)) {
    const at = ofEraser.int(600, 3_000)
    const hook = ofEraser.pick(['A', 'C'] as const)
    add(at, { kind: 'erase', message: ofEraser.pick(['m1', 'm2', 'p1']), hook } as never)
    if (ofEraser.chance(0.2)) add(at - ofEraser.int(0, 100), { kind: 'hold', hook } as never)
    // The deliveries of the message do not end before the erasure.
    if (ofEraser.chance(0.6)) add(ofEraser.int(0, 500), { kind: 'respond', hook, mode: '503' } as never)
    if (ofEraser.chance(0.4)) add(at + ofEraser.int(0, 500), { kind: 'replay', message: 'm1', hook } as never)
  }
  return plan
}

/**
 * A small fixed plan, in which each process is crashed at each of its calls. The plan has a success, failures, a duplicate, a rejected message and a
 * replay.
 */
export const smallPlan: readonly Step[] = [
  { at: 0, kind: 'create', hook: 'A' },
  { at: 0, kind: 'create', hook: 'B' },
  { at: 250, kind: 'respond', hook: 'B', mode: '503' },
  { at: 300, kind: 'post', messages: ['m1'], content: 'x' },
  { at: 340, kind: 'post', messages: ['m1'], content: 'x' },
  { at: 360, kind: 'post', messages: ['m1'], content: 'y' },
  { at: 400, kind: 'post', messages: ['m2', 'n2'], content: 'x' },
  { at: 450, kind: 'post', messages: ['p1', 'm1'], content: 'x', by: 'dispatcher1' },
  { at: 460, kind: 'post', messages: ['p1'], content: 'x', by: 'dispatcher2' },
  { at: 900, kind: 'respond', hook: 'B', mode: 'ok' },
  { at: 1_200, kind: 'replay', message: 'm1', hook: 'A' },
]
