/**
 * A latch for one waiter. `notify` wakes the present waiter, or else the next one. A wait ends after `ms` in any case. Two waiters must not share a
 * latch, because one of them could consume the call of `notify` that was meant for the other.
 */
export interface Wake {
  notify(): void
  wait(ms: number, signal?: AbortSignal): Promise<void>
}

/**
 * Returns the milliseconds until the next poll of a loop that polls every `ms`. The polls of a process end at the same moments of its clock, the
 * multiples of `ms`, because a machine at rest spends more on each wake-up than on the queries. The result is between half of `ms` and one and a
 * half times `ms`. If `ms` is less than a second, the result is `ms`.
 */
export function untilPoll(ms: number, now = performance.now()): number {
  if (ms < 1_000) return ms
  const untilMultiple = ms - (now % ms)
  return untilMultiple < ms / 2 ? untilMultiple + ms : untilMultiple
}

export function createWake(): Wake {
  let raised = false
  let waiters: (() => void)[] = []
  return {
    notify() {
      raised = true
      for (const go of waiters.splice(0)) go()
    },
    async wait(ms, signal) {
      if (signal?.aborted) return
      if (!raised)
        await new Promise<void>((resolve) => {
          const done = () => {
            clearTimeout(timer)
            signal?.removeEventListener('abort', done)
            waiters = waiters.filter((w) => w !== done)
            resolve()
          }
          const timer = setTimeout(done, ms)
          signal?.addEventListener('abort', done, { once: true })
          waiters.push(done)
        })
      raised = false
    },
  }
}
