import type { Checkpoint } from '../events/envelope.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import type { WebhookCache } from './webhook-cache.ts'

/**
 * Delays routing while a message could miss a webhook.
 *
 * A message must be matched with every change of webhooks that was acknowledged before its 202. The API acknowledges a change once the read model
 * `webhooks` has it, or else notes the change first (`projections/acknowledged-changes`). So routing waits only while a noted change is missing, and
 * needs no event store. At the start of a process the gate also waits until the read model has reached the head of the store. The reason is a
 * database that was restored from a backup: it lacks the notes of later changes.
 */
export interface RoutingGate {
  /** Resolves with true once the read model has reached the head that the store had at the start, or with false when the gate was stopped earlier. */
  open(): Promise<boolean>
  /** Refreshes the webhook cache until it has every acknowledged change. Resolves with false when the gate was stopped earlier. */
  refresh(): Promise<boolean>
  /** False while routing waits for the read model: at the start, or for more than a second. */
  readonly isOpen: boolean
  stop(): Promise<void>
}

const checkMs = 20
/** After waiting for this many milliseconds, the gate logs a warning and counts as closed. */
const toleratedWaitMs = 1_000

export function createRoutingGate(deps: {
  /** Returns the head of the store for the families of `webhooks`. */
  head(): Promise<Checkpoint | null>
  webhookCache: Pick<WebhookCache, 'refresh' | 'checkpoint' | 'isBehind'>
  log: Log
}): RoutingGate {
  const { webhookCache, log } = deps
  const stopping = new AbortController()
  const { signal } = stopping
  const reachedHead = new AbortController()
  let waitsSince: number | null = null

  const reachHead = async () => {
    const head = await deps.head()
    while (!signal.aborted) {
      await webhookCache.refresh()
      const { checkpoint } = webhookCache
      if (head === null || (checkpoint !== null && checkpoint >= head)) {
        log.info({}, 'routing.open')
        reachedHead.abort()
        return
      }
      await pause(checkMs, signal)
    }
  }
  const opening = keepRunning(reachHead, {
    signal: AbortSignal.any([signal, reachedHead.signal]),
    onError: (error, delayMs) => log.warn({ error, delayMs }, 'routing.gate_failed'),
  })
  const waitsLong = () => waitsSince !== null && performance.now() - waitsSince > toleratedWaitMs
  return {
    get isOpen() {
      return reachedHead.signal.aborted && !waitsLong()
    },
    async open() {
      if (reachedHead.signal.aborted) return true // mutation: gate-always-open
      await opening
      return reachedHead.signal.aborted
    },
    async refresh() {
      let wasLong = false
      try {
        for (;;) {
          await webhookCache.refresh()
          if (!webhookCache.isBehind) return true // mutation: acknowledged-not-awaited
          if (signal.aborted) return false
          waitsSince ??= performance.now()
          if (waitsLong() && !wasLong) {
            wasLong = true
            log.warn({ checkpoint: webhookCache.checkpoint }, 'routing.waits_for_webhooks')
          }
          await pause(checkMs, signal)
        }
      } finally {
        waitsSince = null
      }
    },
    async stop() {
      stopping.abort()
      await opening
    },
  }
}
