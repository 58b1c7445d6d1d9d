import { performance } from 'node:perf_hooks'

/** Whether this process is certainly still a member of its group, by its own monotonic clock. */
export interface SessionHold {
  /** The group's coordinator has answered what was sent at this time (`performance.now()`). */
  renew(sentAt: number): void
  held(): boolean
  /** It is not held any more, and nobody needs to be told. */
  end(): void
}

/**
 * The coordinator counts the session time-out from when it gets a heartbeat, so from when that was sent at the earliest; a
 * tenth is kept back for a request to leave in. `onLapse` runs before the hold can ever be held again: what has once been
 * told "not held" is lost, and does not wait for ever for a hold that has come back.
 */
export function createSessionLease(options: { sessionTimeoutMs: number; onLapse(): void }): SessionHold {
  const usable = options.sessionTimeoutMs * 0.9
  let until = Number.NEGATIVE_INFINITY
  let running = false
  let timer: NodeJS.Timeout | undefined
  const lapse = () => {
    clearTimeout(timer)
    if (!running) return
    running = false
    options.onLapse()
  }
  const look = () => {
    const left = until - performance.now()
    if (left < 0) lapse()
    else timer = setTimeout(look, left + 1)
  }
  return {
    renew(sentAt) {
      if (performance.now() > until) lapse()
      until = Math.max(until, sentAt + usable)
      running = true
      clearTimeout(timer)
      look()
    },
    held: () => running && performance.now() <= until,
    end() {
      running = false
      until = Number.NEGATIVE_INFINITY
      clearTimeout(timer)
    },
  }
}
