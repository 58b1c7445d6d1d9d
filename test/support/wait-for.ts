import { setTimeout as sleep } from 'node:timers/promises'
import { giveUpAfterMs, startStopwatch } from './patience.ts'

export interface WaitOptions {
  /** A phrase for the condition, used in the error. */
  readonly what?: string
  /** If set, the wait asserts speed: at most this many milliseconds of machine time may pass. Otherwise the limit is generous. */
  readonly within?: number
}

/** Waits until the probe returns a truthy value, and returns that value. An error of the probe means "not yet". */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  { what = 'the condition', within }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const startedAt = performance.now()
  // The stopwatch ticks a hundred times a second, so it runs only where its time counts.
  const stopwatch = within === undefined ? null : startStopwatch()
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
      if (stopwatch === null ? waitedMs > giveUpAfterMs : stopwatch.elapsed() > within!)
        throw new Error(`waited ${Math.round(waitedMs)} ms in vain for ${what}`, { cause: lastError })
      // The pause is a tenth of the time waited so far, because too many expensive probes would delay the condition itself.
      await sleep(Math.min(Math.max(10, waitedMs / 10), 250))
    }
  } finally {
    stopwatch?.stop()
  }
}
