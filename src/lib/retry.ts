import { setTimeout as sleep } from 'node:timers/promises'

/** Sleeps, or returns at once when the signal aborts; never throws. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    if (!signal?.aborted) throw error
  }
}

/** Doubling delays between `min` and `max` milliseconds; `reset` begins anew after a success. */
export function createBackoff(min = 50, max = 5_000): { next(): number; reset(): void } {
  let delay = min
  return {
    next() {
      const now = delay
      delay = Math.min(max, delay * 2)
      return now
    },
    reset() {
      delay = min
    },
  }
}

/**
 * Repeats `work` until it succeeds or the signal aborts (then it throws the last error). For what must happen, such as
 * appending an attempt that was made: whether an earlier try happened may be unknown, so `work` is idempotent.
 */
export async function untilDone<T>(
  work: () => Promise<T>,
  options: { signal?: AbortSignal; onError(error: unknown, delayMs: number): void; isFinal?(error: unknown): boolean },
): Promise<T> {
  const delays = createBackoff()
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (options.signal?.aborted || options.isFinal?.(error)) throw error
      const delay = delays.next()
      options.onError(error, delay)
      await pause(delay, options.signal)
    }
  }
}

/**
 * Runs a loop until the signal aborts; when its body throws it begins again after a back-off, and `onError` is told.
 * A body that returns is called again at once.
 */
export async function keepRunning(
  body: () => Promise<void>,
  options: { signal: AbortSignal; onError(error: unknown, delayMs: number): void },
) {
  const delays = createBackoff()
  while (!options.signal.aborted)
    try {
      await body()
      delays.reset()
    } catch (error) {
      if (options.signal.aborted) return
      const delay = delays.next()
      options.onError(error, delay)
      await pause(delay, options.signal)
    }
}
