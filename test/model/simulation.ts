import { AsyncLocalStorage } from 'node:async_hooks'
import type { DeliveryRef } from '../../src/events/refs.ts'
import { type Event, pop, push, type Scheduled } from './queue.ts'
import { type Random, randomFrom } from './random.ts'

/** The engines of a process, which may fail. */
export type Engine = 'postgres' | 'events' | 'bus' | 'log'

/** The life of a process, from one start to its end. */
export interface Life {
  readonly name: string
  readonly id: string
  alive: boolean
  /** The time until which the process is frozen. Calls that it has already sent still take effect. */
  frozenUntil: number
  /** Whether the process has been frozen, so that another process may have done its work. */
  wasFrozen: boolean
  /** Milliseconds by which its wall clock is ahead. */
  readonly skewMs: number
  calls: number
}
/** The process that runs the present code. Timers and calls find it in the asynchronous context. */
export interface Context {
  readonly simulation: Simulation
  readonly life: Life
  /** Enters the context again. This is cheaper than a new `run` for every event. */
  enter?: <T>(work: () => T) => T
  /** The delivery in progress, if there is one. */
  readonly delivery?: { readonly ref: DeliveryRef; readonly fromTable: boolean }
}
export const context = new AsyncLocalStorage<Context>()
/** A planned kill or freeze of a process at one of its calls: before the call is sent, or between its effect and its result. */
export interface Crash {
  readonly process: string
  readonly call: number
  readonly phase: 'before' | 'after'
  readonly freezeMs?: number
  readonly restartMs: number
}
/** The result of an effect that has to wait for another event. */
export class Later<T> {
  readonly start: (resolve: (value: T) => void) => void
  constructor(start: (resolve: (value: T) => void) => void) {
    this.start = start
  }
}
export interface Call<T> {
  readonly engine: Engine
  readonly name: string
  /** The work of the engine. It is done once, even if the caller ends. The caller gets the error that it throws. */
  effect(): T | Later<T>
  /** Whether the trace leaves out the call. */
  readonly quiet?: boolean
  /** Whether the call has no effect if its result does not arrive, like a statement of a transaction. */
  readonly neverLate?: boolean
}
const realImmediate = setImmediate
/** The number of events between two turns of the real event loop. Microtasks run after each event. */
const burst = 64

/** Simulates time, processes, and calls that can fail in every way. All that happens is an event in one queue. */
export class Simulation {
  now = 0
  readonly random: Random
  readonly trace: string[] = []
  readonly downUntil = new Map<Engine, number>()
  /** Until the time `until`, each call fails with this probability. */
  failing = { until: 0, probability: 0 }
  readonly crashes: Crash[] = []
  readonly fired: Crash[] = []
  readonly onEnd: ((life: Life) => void)[] = []
  errorOf: (engine: Engine) => Error = (engine) => new Error(`${engine} failed`)
  steps = 0
  private readonly queue: Scheduled[] = []
  private nth = 0
  private readonly isTracing: boolean
  private readonly processes = new Map<string, { main(life: Life): void; life: Life; starts: number }>()

  constructor(seed: number, isTracing = false) {
    this.random = randomFrom(seed)
    this.isTracing = isTracing
  }
  note(text: () => string): void {
    if (this.isTracing) this.trace.push(`${this.now.toFixed(1).padStart(8)} ${text()}`)
  }
  at(time: number, run: () => void): Event {
    const event: Scheduled = { time, nth: this.nth++, run, cancelled: false }
    push(this.queue, event)
    return event
  }
  /** Runs `work` in the context now, or when its process is no longer frozen. Does nothing if the process has ended. */
  resume(caller: Context, work: () => void): void {
    if (!caller.life.alive) return
    if (this.now < caller.life.frozenUntil) this.at(caller.life.frozenUntil, () => this.resume(caller, work))
    else {
      caller.enter ??= context.run(caller, () => AsyncLocalStorage.snapshot())
      caller.enter(work)
    }
  }
  /** Runs until the time, or until `isOver` returns true. Returns whether `isOver` returned true. */
  async run(until: number, isOver: () => boolean): Promise<boolean> {
    let over = false
    let failure: { error: unknown } | undefined
    const step = () => {
      if (over || failure !== undefined) return
      const event = this.queue[0]
      if (event === undefined || event.time > until) return
      pop(this.queue)
      if (event.cancelled) return
      this.now = event.time
      this.steps++
      try {
        event.run()
        over = isOver()
      } catch (error) {
        failure = { error }
      }
    }
    while (!over && failure === undefined && (this.queue[0]?.time ?? Number.POSITIVE_INFINITY) <= until)
      await new Promise<void>((resolve) => {
        for (let i = 1; i < burst; i++) realImmediate(step)
        realImmediate(() => {
          step()
          resolve()
        })
      })
    if (failure !== undefined) throw failure.error
    return over
  }

  start(name: string, main: (life: Life) => void): void {
    this.begin(name, main, 0)
  }
  private begin(name: string, main: (life: Life) => void, starts: number): void {
    const skewMs = this.random.chance(0.3) ? this.random.int(-3_000, 3_000) : 0
    const life: Life = { name, id: `${name}.${starts + 1}`, alive: true, frozenUntil: 0, wasFrozen: false, skewMs, calls: 0 }
    this.processes.set(name, { main, life, starts: starts + 1 })
    this.note(() => `START ${life.id}`)
    context.run({ simulation: this, life }, () => main(life))
  }
  lifeOf(name: string): Life | undefined {
    return this.processes.get(name)?.life
  }
  /** Ends the process at once, as kill -9 does, and starts it again after `restartMs`. */
  kill(name: string, restartMs: number): void {
    const process = this.processes.get(name)
    if (process === undefined || !process.life.alive) return
    this.note(() => `KILL ${process.life.id}`)
    this.end(name, restartMs)
  }
  /** Restarts a process that has ended by itself. */
  end(name: string, restartMs: number): void {
    const process = this.processes.get(name)!
    process.life.alive = false
    for (const onEndListener of this.onEnd) onEndListener(process.life)
    this.at(this.now + restartMs, () => this.begin(name, process.main, process.starts))
  }
  freeze(name: string, ms: number): void {
    const life = this.lifeOf(name)
    if (!life?.alive) return
    this.note(() => `FREEZE ${life.id} ${ms}`)
    life.frozenUntil = Math.max(life.frozenUntil, this.now + ms)
    life.wasFrozen = true
  }
  private isHit(life: Life, phase: Crash['phase'], nth: number, call: string): boolean {
    const at = this.crashes.findIndex((crash) => crash.process === life.name && crash.phase === phase && crash.call === nth)
    if (at === -1) return false
    const [crash] = this.crashes.splice(at, 1)
    this.fired.push(crash!)
    this.note(() => `HIT ${life.id} ${phase} call ${nth} ${call}`)
    if (crash!.freezeMs !== undefined) this.freeze(life.name, crash!.freezeMs)
    else this.kill(life.name, crash!.restartMs)
    return !life.alive
  }

  /** Calls an engine for the running process. The call may fail before or after its effect, be delayed, or be cut off by a crash. */
  call<T>(call: Call<T>): Promise<T> {
    const { random } = this
    const caller = context.getStore()
    if (caller === undefined) throw new Error(`${call.name} was called by no process`)
    const { life } = caller
    const nth = ++life.calls
    return new Promise<T>((resolve, reject) => {
      if (!life.alive || this.isHit(life, 'before', nth, call.name)) return
      const slow = random.chance(0.03) ? random.int(5, 150) : 0
      const hear = (delay: number, settle: () => void) => {
        if (delay === 0) this.resume(caller, settle)
        else this.at(this.now + delay, () => this.resume(caller, settle))
      }
      const back = () => (random.chance(0.6) ? 0 : random.next() * 3)
      const happen = (isHeard: boolean) => {
        let result: T | Later<T>
        try {
          result = call.effect()
        } catch (error) {
          if (isHeard) hear(back(), () => reject(error))
          return
        }
        const deliver = (value: T) => {
          if (!call.quiet) this.note(() => `${life.id} ${call.engine} ${call.name}${show(value)}${isHeard ? '' : ' (unheard)'}`)
          if (isHeard && life.alive && !this.isHit(life, 'after', nth, call.name)) hear(back(), () => resolve(value))
        }
        if (result instanceof Later) result.start(deliver)
        else deliver(result)
      }
      this.at(this.now + random.next() * 3 + slow, () => {
        const fail = () => hear(random.int(1, 30), () => reject(this.errorOf(call.engine)))
        if (this.now < (this.downUntil.get(call.engine) ?? 0)) return fail()
        if (this.now >= this.failing.until || !random.chance(this.failing.probability)) return happen(true)
        const kind = random.pick(['error', 'lost', 'late', 'hang'] as const)
        this.note(() => `${life.id} ${call.engine} ${call.name} -> ${kind}`)
        if (kind === 'hang') return void this.at(this.now + random.int(200, 2_500), () => happen(true))
        if (kind === 'lost' && !call.neverLate) happen(false)
        if (kind === 'late' && !call.neverLate) this.at(this.now + random.int(100, 4_000), () => happen(false))
        fail()
      })
    })
  }
}

const show = (value: unknown): string => {
  if (value === undefined) return ''
  const text = JSON.stringify(value, (_, v) =>
    typeof v === 'bigint' ? String(v) : Buffer.isBuffer(v) || v?.type === 'Buffer' ? 'bytes' : v,
  )
  return ` = ${text.length > 200 ? `${text.slice(0, 200)}…` : text}`
}
