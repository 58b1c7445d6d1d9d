import type { Pool } from 'pg'
import type { Registry } from 'prom-client'
import type { AddressPolicy } from '../lib/addresses.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { LiveProcesses } from '../lib/live-processes.ts'
import type { Log } from '../lib/log.ts'
import type { Wake } from '../lib/wake.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import type { LiveDeliveryLog } from '../projections/live-history.ts'
import type { MessageIndex } from '../projections/message-index.ts'
import { changedSince, webhooks } from '../projections/webhooks.ts'
import { consume } from './consume.ts'
import { createDeliverer } from './deliver.ts'
import { due } from './due.ts'
import { createDispatchMetrics } from './metrics.ts'
import type { Offsets } from './offsets.ts'
import { createRouter } from './route.ts'
import { createRoutingGate } from './routing-gate.ts'
import { createSchedule } from './schedule.ts'
import { createSender } from './send.ts'
import { createSlots } from './slots.ts'
import { createWebhookCache } from './webhook-cache.ts'

export interface DispatcherDeps {
  readonly bus: MessageBus
  readonly store: EventStore
  readonly deliveryLog: LiveDeliveryLog
  readonly index: MessageIndex
  readonly offsets: Offsets
  readonly pool: Pool
  readonly keyring: Keyring
  readonly live: LiveProcesses
  readonly policy: AddressPolicy
  readonly registry: Registry
  readonly log: Log
  /** Unique to this start of the process. */
  readonly processId: string
  /** Notified when rows were written that are due at once. */
  readonly dueWake: Wake
  readonly retryDelays: readonly number[]
  readonly maxInFlight: number
  readonly maxInFlightPerWebhook: number
  readonly maxInFlightPerHighThroughputWebhook: number
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly claimMs: number
  readonly userAgent: string
}
export interface Dispatcher {
  /** Routing goes on: the read model of webhooks is not behind. */
  readonly isReady: boolean
  /** Stops taking, finishes what is in flight (what waits is parked), saves the offsets. */
  stop(): Promise<void>
}

/** Starts the whole way of a message after its 202. */
export function startDispatcher(deps: DispatcherDeps): Dispatcher {
  const { bus, store, deliveryLog, index, offsets, pool, keyring, log } = deps
  const copy = createWebhookCache({ changes: (cursor) => changedSince(pool, cursor), keyring, log })
  const rows = createSchedule({ pool, owner: deps.processId, claimMs: deps.claimMs })
  const free = createSlots({
    total: deps.maxInFlight,
    perWebhook: deps.maxInFlightPerWebhook,
    perHighThroughputWebhook: deps.maxInFlightPerHighThroughputWebhook,
    dispatchers: () => deps.live.count('dispatcher'),
  })
  const metrics = createDispatchMetrics(deps.registry, free)
  const send = createSender({
    policy: deps.policy,
    connectTimeoutMs: deps.connectTimeoutMs,
    requestTimeoutMs: deps.requestTimeoutMs,
    maxConnections: deps.maxInFlight,
    userAgent: deps.userAgent,
  })
  const now = Date.now
  const deliver = createDeliverer({
    store,
    keyring,
    copy,
    slots: free,
    schedule: rows,
    sender: send,
    retryDelays: deps.retryDelays,
    metrics,
    log,
    now,
    random: Math.random,
  })
  const routing = createRoutingGate({
    head: () => store.head(webhooks.families),
    async reached() {
      await copy.refresh()
      return copy.checkpoint
    },
    log,
  })
  const messages = createRouter({ gate: routing, copy, index, deliveryLog, schedule: rows, store, deliver, metrics, log, now })
  const stopping = new AbortController()
  const running = Promise.all([
    consume({ bus, offsets, router: messages, pool, metrics, log }, stopping.signal),
    // What is owed meets webhooks as they are, too: not as they were half way through a read model that is built anew.
    routing.open().then(() =>
      due(
        {
          schedule: rows,
          deliveryLog,
          copy,
          slots: free,
          deliver,
          log,
          claimMs: deps.claimMs,
          requestMs: deps.requestTimeoutMs,
          wake: deps.dueWake,
        },
        stopping.signal,
      ),
    ),
  ])
  // Unheard until stop() awaits it, a failure here would end the process without a word.
  let isRunning = true
  running.catch((error: unknown) => {
    isRunning = false
    log.error({ error }, 'dispatcher.failed')
  })
  return {
    get isReady() {
      return isRunning && routing.isOpen
    },
    async stop() {
      stopping.abort()
      free.close()
      await routing.stop()
      await running
      free.stop()
      await send.close()
    },
  }
}
