/**
 * A latch. `notify` wakes the waiter, or the next one if there is none. A wait ends after `ms` in any case. One latch serves one waiter:
 * of two waiters, one could consume the wake of the other.
 */
export interface Wake {
  notify(): void
  wait(ms: number, signal?: AbortSignal): Promise<void>
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
