import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'
import type { Event } from './queue.ts'
import { context, type Simulation } from './simulation.ts'

/** The real time at which virtual time begins. Some runs cross midnight, where the day streams change. */
export const epochOf = (simulation: Simulation): number => epochs.get(simulation) ?? Date.UTC(2026, 0, 1, 12)
const epochs = new WeakMap<Simulation, number>()
export const setEpoch = (simulation: Simulation, epoch: number) => epochs.set(simulation, epoch)

class VirtualTimer {
  event: Event | undefined
  isCancelled = false
  cancel() {
    this.isCancelled = true
    if (this.event !== undefined) this.event.cancelled = true
  }
  ref() {
    return this
  }
  unref() {
    return this
  }
  hasRef() {
    return true
  }
}

const real = {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  now: Date.now,
  random: Math.random,
  sleep: timers.setTimeout,
  uuid: crypto.randomUUID,
}
type Callback = (...args: unknown[]) => void

function arm(callback: Callback, ms: number, args: unknown[], isRepeated: boolean): VirtualTimer {
  const caller = context.getStore()!
  const { simulation } = caller
  const timer = new VirtualTimer()
  const next = () => {
    timer.event = simulation.at(simulation.now + Math.max(0, ms), () =>
      simulation.resume(caller, () => {
        if (timer.isCancelled) return
        if (isRepeated) next()
        callback(...args)
      }),
    )
  }
  next()
  return timer
}
const cancelOr = (otherwise: (handle: never) => void) => (handle: unknown) =>
  handle instanceof VirtualTimer ? handle.cancel() : otherwise(handle as never)

function sleep(ms = 1, value?: unknown, options: { signal?: AbortSignal } = {}): Promise<unknown> {
  if (context.getStore() === undefined) return real.sleep(ms, value, options)
  const { signal } = options
  if (signal?.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const abort = () => {
      timer.cancel()
      reject(signal?.reason)
    }
    const done = () => {
      signal?.removeEventListener('abort', abort)
      resolve(value)
    }
    const timer = arm(done, ms, [], false)
    signal?.addEventListener('abort', abort, { once: true })
  })
}
const uuid = () => {
  const caller = context.getStore()
  if (caller === undefined) return real.uuid()
  const word = () =>
    Math.floor(caller.simulation.random.next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  return `${word()}-${word().slice(4)}-4${word().slice(5)}-8${word().slice(5)}-${word()}${word().slice(4)}`
}

/**
 * Replaces timers, clocks and randomness for code that runs in a simulation. Other code keeps the real ones. Returns
 * the function that restores everything.
 */
export function installClock(): () => void {
  const started = performance.now.bind(performance)
  Object.assign(globalThis, {
    setTimeout: Object.assign(
      (callback: Callback, ms = 0, ...args: unknown[]) =>
        context.getStore() === undefined ? real.setTimeout(callback, ms, ...args) : arm(callback, ms, args, false),
      real.setTimeout,
    ),
    setInterval: (callback: Callback, ms = 0, ...args: unknown[]) =>
      context.getStore() === undefined ? real.setInterval(callback, ms, ...args) : arm(callback, ms, args, true),
    setImmediate: Object.assign(
      (callback: Callback, ...args: unknown[]) =>
        context.getStore() === undefined ? real.setImmediate(callback, ...args) : arm(callback, 0, args, false),
      real.setImmediate,
    ),
    clearTimeout: cancelOr(real.clearTimeout),
    clearInterval: cancelOr(real.clearInterval),
  })
  Date.now = () => {
    const caller = context.getStore()
    return caller === undefined ? real.now() : Math.floor(epochOf(caller.simulation) + caller.simulation.now + caller.life.skewMs)
  }
  Object.defineProperty(performance, 'now', {
    configurable: true,
    writable: true,
    value: () => context.getStore()?.simulation.now ?? started(),
  })
  Math.random = () => context.getStore()?.simulation.random.next() ?? real.random()
  Object.assign(timers, { setTimeout: sleep })
  Object.assign(crypto, { randomUUID: uuid })
  syncBuiltinESMExports()
  return () => {
    const { now, random, sleep: pause, uuid: newUuid, ...globals } = real
    Object.assign(globalThis, globals)
    Date.now = now
    Math.random = random
    Reflect.deleteProperty(performance, 'now')
    Object.assign(timers, { setTimeout: pause })
    Object.assign(crypto, { randomUUID: newUuid })
    syncBuiltinESMExports()
  }
}
