/**
 * A latch for one waiter. `notify` wakes the present waiter, or else the next one. A wait ends after `ms` in any case. Two waiters must not share a
 * latch, because one of them could consume the call of `notify` that was meant for the other.
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
