import { setTimeout as sleep } from 'node:timers/promises'

/** Waits until the probe answers something truthy, and answers that; its own failures count as "not yet". */
export async function waitFor<T>(probe: () => T | Promise<T>, options: { ms?: number; what?: string } = {}): Promise<NonNullable<T>> {
  const { ms = 10_000, what = 'the condition' } = options
  const begun = performance.now()
  let last: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value) return value
      last = undefined
    } catch (error) {
      last = error
    }
    const waited = performance.now() - begun
    if (waited > ms) throw new Error(`waited ${ms} ms in vain for ${what}`, { cause: last })
    // A tenth of what was waited: a look may be dear, and many of them hold up what is waited for.
    await sleep(Math.min(Math.max(10, waited / 10), 250))
  }
}
