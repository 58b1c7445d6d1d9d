import { dayOf, msPerDay } from '../lib/days.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause } from '../lib/retry.ts'

/** The removal of one kind of data, day by day after the retention. */
export interface Sweep {
  readonly name: string
  /** Drops data from before the day (`yyyy-mm-dd`, UTC) that are not needed any more. Returns how many rows or partitions were dropped. */
  run(day: string): Promise<number>
}

/** Runs the sweeps in the background, in one process at a time: soon after the start, and then every hour. */
export function startRetention(options: {
  sweeps: readonly Sweep[]
  retentionDays: number
  leases: LeaseKeeper
  log: Log
  now(): number
  everyMs?: number
}): { stop(): Promise<void> } {
  const { sweeps, retentionDays, leases, log, now, everyMs = 3_600_000 } = options
  const stop = new AbortController()
  const sweepAll = async () => {
    await pause(Math.min(everyMs, 10_000), stop.signal)
    if (stop.signal.aborted) return
    const lease = await leases.take('retention')
    if (lease !== null)
      try {
        // One day is added, because a day is dropped only when its last moment is older than the retention.
        const day = dayOf(now() - (retentionDays + 1) * msPerDay)
        for (const sweep of sweeps)
          try {
            const dropped = await sweep.run(day)
            if (dropped > 0) log.info({ what: sweep.name, before: day, dropped }, 'retention.swept')
          } catch (error) {
            log.warn({ error, what: sweep.name }, 'retention.sweep_failed') // the other sweeps continue
          }
      } finally {
        await lease.release()
      }
    await pause(everyMs, stop.signal)
  }
  const loop = keepRunning(sweepAll, { signal: stop.signal, onError: (error, delayMs) => log.warn({ error, delayMs }, 'retention.failed') })
  return {
    async stop() {
      stop.abort()
      await loop
    },
  }
}
