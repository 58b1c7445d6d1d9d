import { performance } from 'node:perf_hooks'

/** Measures by this process's own monotonic clock whether it is certainly still a member of its group. */
export interface SessionLease {
  /** Call it when the group's coordinator has answered a request. @param sentAt when the request was sent (`performance.now()`) */
  renew(sentAt: number): void
  isHeld(): boolean
  /** Ends the lease without calling `onLapse`. */
  end(): void
}

/**
 * The coordinator counts the session time-out from the moment it receives a heartbeat, which is after the heartbeat was sent. So the lease
 * counts from the sending. A tenth of the time-out is kept back, because a request needs a moment to leave. `onLapse` runs before the lease
 * can be held again, so that partitions which were reported as not held are lost even if the lease comes back.
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
    const left = until - performance.now()
    if (left < 0) lapse()
    else timer = setTimeout(check, left + 1)
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
