/*
 * The tests have two kinds of time limits.
 * 1. A limit at which a test gives up. It is generous, because a test that passes never reaches it.
 * 2. A limit that asserts speed. It is measured in machine time, which runs more slowly than the clock on a busy machine.
 */

/** Milliseconds that a test waits for a condition before it fails. The longest wait on an idle machine is about 20 s. */
export const giveUpAfterMs = 300_000

/**
 * Variables of a service whose work is taken over soon after it is killed or frozen. The times are short, so that tests need not wait long. They are
 * long enough that even a busy machine loses no lease and no request times out.
 */
export const soonTakenOver = {
  KOLBAK_LEASE_MS: '5000',
  KOLBAK_CONNECT_TIMEOUT_MS: '4000',
  KOLBAK_REQUEST_TIMEOUT_MS: '5000',
  KOLBAK_CLAIM_MS: '10000',
} as const
/** The same variables for a service whose receivers hang, with a short request time-out. */
export const soonTimedOut = { ...soonTakenOver, KOLBAK_REQUEST_TIMEOUT_MS: '4000' } as const

/** Milliseconds between two ticks of the stopwatch. */
const tickMs = 10
/** Machine time runs at least at this fraction of the clock, so that a blocked process does not count as a busy machine. */
const slowestRate = 1 / 20

export interface Stopwatch {
  /** Returns the milliseconds of machine time since the start. */
  elapsed(): number
  stop(): void
}
/**
 * Measures machine time by counting timer ticks of 10 ms. A busy machine delivers the ticks late, by about as much as it slows down other work. On an
 * idle machine, the result is the time of the clock.
 */
export function startStopwatch(): Stopwatch {
  const startedAt = performance.now()
  let ticks = 0
  const timer = setInterval(() => {
    ticks++
  }, tickMs)
  timer.unref()
  return {
    elapsed: () => Math.max(Math.min(ticks * tickMs, performance.now() - startedAt), (performance.now() - startedAt) * slowestRate),
    stop: () => clearInterval(timer),
  }
}

/** Returns how many milliseconds of machine time a piece of work takes. */
export async function machineTimeOf(work: () => unknown): Promise<number> {
  const stopwatch = startStopwatch()
  try {
    await work()
    return stopwatch.elapsed()
  } finally {
    stopwatch.stop()
  }
}
