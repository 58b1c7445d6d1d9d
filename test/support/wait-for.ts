import { setTimeout as sleep } from 'node:timers/promises'
import { giveUpAfterMs, startStopwatch } from './patience.ts'

export interface WaitOptions {
  /** The condition, as the error names it. */
  readonly what?: string
  /** Asserts speed: at most this many milliseconds of machine time may pass. Without it the wait is generous. */
  readonly within?: number
}

/** Waits until the probe returns something truthy, and returns that. An error of the probe counts as "not yet". */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  { what = 'the condition', within }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const startedAt = performance.now()
  const stopwatch = startStopwatch()
  let lastError: unknown
  try {
    for (;;) {
      try {
        const value = await probe()
        if (value) return value
        lastError = undefined
      } catch (error) {
        lastError = error
      }
      const waitedMs = performance.now() - startedAt
      if (within === undefined ? waitedMs > giveUpAfterMs : stopwatch.elapsed() > within)
        throw new Error(`waited ${Math.round(waitedMs)} ms in vain for ${what}`, { cause: lastError })
      // A tenth of the time waited so far, because many expensive probes would delay the condition itself.
      await sleep(Math.min(Math.max(10, waitedMs / 10), 250))
    }
  } finally {
    stopwatch.stop()
  }
}
