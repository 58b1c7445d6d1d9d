import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    if (!signal?.aborted) throw error
  }
}

/** Returns delays that double from `min` to `max` milliseconds. `reset` starts again at `min`. */
export function createBackoff(min = 50, max = 5_000): { next(): number; reset(): void } {
  let delay = min
  return {
    next() {
      const current = delay
      delay = Math.min(max, delay * 2)
      return current
    },
    reset() {
      delay = min
    },
  }
}

/**
 * Repeats `work` until it succeeds. Throws the last error when the signal aborts, and throws an error at once if `isFinal` returns true for it.
 * Use this for work that must be done, such as recording an attempt. A failed try may have taken effect, so `work` must be idempotent.
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
 * Calls `body` again and again until the signal aborts: at once after `body` returns, and with back-off after `body` throws.
 * `onError` is called with each error.
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
