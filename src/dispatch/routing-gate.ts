import type { Checkpoint } from '../events/envelope.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause } from '../lib/retry.ts'

/**
 * Routing waits while the read model `webhooks` is behind, because a webhook that it does not have yet would get no message. It waits at
 * the start, until the read model has reached the head of the store, and later while the read model has been behind for more than a second.
 */
export interface RoutingGate {
  /** Resolves with true when routing may go on, and with false when the gate was stopped while it was closed. */
  open(): Promise<boolean>
  readonly isOpen: boolean
  stop(): Promise<void>
}

const checkMs = 500
const closedCheckMs = 20
const toleratedLagMs = 1_000

export function createRoutingGate(deps: {
  head(): Promise<Checkpoint | null>
  reached(): Promise<Checkpoint | null>
  log: Log
}): RoutingGate {
  const { head, reached, log } = deps
  const stopping = new AbortController()
  let isOpen = false
  let behindSince: number | null = null
  const waiters: ((isOpen: boolean) => void)[] = []
  /** The head to be reached. It is read again only once it is reached, because reading it can itself append an event (EventStoreDB). */
  let target: Checkpoint | null | undefined

  const check = async () => {
    target ??= await head()
    const checkpoint = await reached()
    if (target === null || (checkpoint !== null && checkpoint >= target)) {
      target = undefined
      behindSince = null
      if (!isOpen) log.info({}, 'routing.open')
      isOpen = true
      for (const resolve of waiters.splice(0)) resolve(true)
    } else {
      behindSince ??= performance.now()
      if (isOpen && performance.now() - behindSince > toleratedLagMs) {
        isOpen = false
        log.warn({ wanted: target, reached: checkpoint }, 'routing.waits_for_webhooks')
      }
    }
    await pause(isOpen ? checkMs : closedCheckMs, stopping.signal)
  }
  const checks = keepRunning(check, {
    signal: stopping.signal,
    onError: (error, delayMs) => log.warn({ error, delayMs }, 'routing.gate_failed'),
  })
  return {
    get isOpen() {
      return isOpen
    },
    async open() {
      if (isOpen) return true // mutation: gate-always-open
      if (stopping.signal.aborted) return false
      return new Promise<boolean>((resolve) => {
        waiters.push(resolve)
      })
    },
    async stop() {
      stopping.abort()
      await checks
      for (const resolve of waiters.splice(0)) resolve(false)
    },
  }
}
