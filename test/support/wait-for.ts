import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until the probe answers something truthy, and answers that; its own failures count as "not yet". */
export async function waitFor<T>(probe: () => T | Promise<T>, options: { ms?: number; what?: string } = {}): Promise<NonNullable<T>> {
  const { ms = 10_000, what = 'the condition' } = options
  const end = performance.now() + ms
  let last: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value) return value
      last = undefined
    } catch (error) {
      last = error
    }
    if (performance.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`, { cause: last })
    await sleep(10)
  }
}
