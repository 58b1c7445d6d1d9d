import { setTimeout as sleep } from 'node:timers/promises'
import type { Checkpoint } from '../events/envelope.ts'
import type { Log } from '../lib/log.ts'
import { projectionNames } from '../projections/names.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'

/**
 * Waits until the delivery history shows every stored attempt. The history is a projection, so it lags behind the events. A redelivered message, or a
 * row whose claim ran out, would be sent again although its attempt is stored.
 */
export interface HistoryCatchUp {
  /**
   * Resolves once the history shows every event that was stored before the call, or after `longestWaitMs` without it. After such a wait in vain, calls
   * resolve at once for `pauseMs`, because a request may be repeated, but no delivery may wait for a projector or a store that is down.
   */
  reachHead(): Promise<void>
}

const longestWaitMs = 3_000
const pauseMs = 60_000

export function createHistoryCatchUp(deps: {
  /** Returns the head of the store for the families of the projection `deliveries`. */
  head(): Promise<Checkpoint | null>
  readonly waiter: ProjectionWaiter
  readonly log: Log
  readonly longestWaitMs?: number
}): HistoryCatchUp {
  const { head, waiter, log } = deps
  const waitMs = deps.longestWaitMs ?? longestWaitMs
  let pausedUntil = 0
  const hasReachedHead = async (): Promise<boolean> => {
    const position = await head()
    return position === null || waiter.waitFor(projectionNames.deliveries, position, waitMs)
  }
  return {
    async reachHead() {
      if (performance.now() < pausedUntil) return
      const ended = new AbortController()
      try {
        // The store has a longer time limit of its own, so the wait as a whole is limited here.
        const timeLimit = sleep(waitMs, false, { signal: ended.signal, ref: false })
        if (await Promise.race([hasReachedHead(), timeLimit])) return
        log.warn({ waited_ms: waitMs }, 'routing.history_behind')
      } catch (error) {
        log.warn({ error }, 'routing.history_behind')
      } finally {
        ended.abort()
      }
      pausedUntil = performance.now() + pauseMs
    },
  }
}
