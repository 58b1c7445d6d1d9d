import type { Checkpoint } from '../events/envelope.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause } from '../lib/retry.ts'

/**
 * Routing waits while the read model `webhooks` is behind: at the start until it has reached the store's head, and later
 * while it has been behind for more than a second (its projection is stopped). A read model that is behind must not look
 * like "no webhook".
 */
export interface RoutingGate {
  /** Resolves with true when routing may go on, with false when the gate was stopped while it was closed. */
  open(): Promise<boolean>
  readonly isOpen: boolean
  stop(): Promise<void>
}

const everyMs = 500
const patienceMs = 1_000

export function createRoutingGate(deps: {
  head(): Promise<Checkpoint | null>
  reached(): Promise<Checkpoint | null>
  log: Log
}): RoutingGate {
  const { head, reached, log } = deps
  const stop = new AbortController()
  let open = false
  let behindSince: number | null = null
  const waiters: ((isOpen: boolean) => void)[] = []
  /** The head that is to be reached; asked for anew once it is (to ask may itself move it: EventStoreDB). */
  let wanted: Checkpoint | null | undefined

  const look = async () => {
    wanted ??= await head()
    const at = await reached()
    const caughtUp = wanted === null || (at !== null && at >= wanted)
    if (caughtUp) {
      wanted = undefined
      behindSince = null
      if (!open) log.info({}, 'routing.open')
      open = true
      for (const go of waiters.splice(0)) go(true)
    } else {
      behindSince ??= performance.now()
      if (open && performance.now() - behindSince > patienceMs) {
        open = false
        log.warn({ wanted, reached: at }, 'routing.waits_for_webhooks')
      }
    }
    await pause(open ? everyMs : 20, stop.signal)
  }
  const loop = keepRunning(look, { signal: stop.signal, onError: (error, delayMs) => log.warn({ error, delayMs }, 'routing.gate_failed') })
  return {
    get isOpen() {
      return open
    },
    open: async () =>
      open ||
      (!stop.signal.aborted &&
        (await new Promise<boolean>((resolve) => {
          waiters.push(resolve)
        }))),
    async stop() {
      stop.abort()
      await loop
      for (const go of waiters.splice(0)) go(false)
    },
  }
}
