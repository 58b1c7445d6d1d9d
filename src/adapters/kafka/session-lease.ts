import { performance } from 'node:perf_hooks'

/** Says whether this process is certainly a member of its group, by the monotonic clock of the process. */
export interface SessionLease {
  /**
   * Renews the lease after the group's coordinator has responded to a request. @param sentAt the time at which the request was sent
   * (`performance.now()`)
   */
  renew(sentAt: number): void
  isHeld(): boolean
  /** Ends the lease without calling `onLapse`. */
  end(): void
}

/**
 * Makes the lease of a session. The coordinator counts the session time-out from the moment at which it receives a heartbeat. The lease
 * counts from the earlier moment at which the heartbeat was sent. The last tenth of the time-out is not used, because a request needs a moment to be
 * sent. If the lease ends, `onLapse` is called before the lease can be renewed. So this process loses its partitions for good, even if it holds the
 * lease again a moment later.
 */
export function createSessionLease(options: { sessionTimeoutMs: number; onLapse(): void }): SessionLease {
  const usableMs = options.sessionTimeoutMs * 0.9
  let until = Number.NEGATIVE_INFINITY
  let isRunning = false
  let timer: NodeJS.Timeout | undefined
  const lapse = () => {
    clearTimeout(timer)
    if (!isRunning) return
    isRunning = false
    options.onLapse()
  }
  const check = () => {
    const msLeft = until - performance.now()
    if (msLeft < 0) lapse()
    else timer = setTimeout(check, msLeft + 1)
  }
  return {
    renew(sentAt) {
      if (performance.now() > until) lapse()
      until = Math.max(until, sentAt + usableMs)
      isRunning = true
      clearTimeout(timer)
      check()
    },
    isHeld: () => isRunning && performance.now() <= until,
    end() {
      isRunning = false
      until = Number.NEGATIVE_INFINITY
      clearTimeout(timer)
    },
  }
}
