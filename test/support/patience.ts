/*
 * All limits of time in the tests are of two kinds.
 * 1. A limit at which a test gives up. It is generous, because a test that passes never waits for it.
 * 2. A limit that asserts speed. It is measured in machine time, which runs slower on a busy machine than the clock does.
 */

/** Milliseconds that a test waits for a condition before it fails. The longest wait on an idle machine is about 20 s. */
export const giveUpAfterMs = 300_000

/**
 * Variables of a service whose work is taken over soon after it is killed or frozen. The times are short enough to wait for, and
 * long enough that a busy machine alone loses no lease and lets no request time out.
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
/** Machine time never runs slower than this fraction of the clock, so that a blocked process cannot pass as a busy machine. */
const slowestRate = 1 / 20

export interface Stopwatch {
  /** Returns the milliseconds of machine time since the start. */
  elapsed(): number
  stop(): void
}
/**
 * Measures machine time: it counts timer ticks of 10 ms. A machine with more work than processors delivers them late, and by
 * about as much as it slows everything else down. On an idle machine the result is the time of the clock.
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
