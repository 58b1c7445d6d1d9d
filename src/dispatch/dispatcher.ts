import type { Pool } from 'pg'
import type { Registry } from 'prom-client'
import { dayFamilies } from '../events/streams.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { LiveProcesses } from '../lib/live-processes.ts'
import type { Log } from '../lib/log.ts'
import type { Wake } from '../lib/wake.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import type { LiveDeliveryLog } from '../projections/live-delivery-log.ts'
import type { MessageIndex } from '../projections/message-index.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import { changedSince, webhooks } from '../projections/webhooks.ts'
import { consume } from './consume.ts'
import { createDeliverer } from './deliver.ts'
import { deliverScheduled } from './due.ts'
import { createHistoryCatchUp } from './history-catch-up.ts'
import { createDispatchMetrics } from './metrics.ts'
import type { Offsets } from './offsets.ts'
import { createRouter } from './route.ts'
import { createRoutingGate } from './routing-gate.ts'
import { createSchedule } from './schedule.ts'
import { createSender } from './send.ts'
import { createSlots } from './slots.ts'
import { StageHealth } from './stage-health.ts'
import { createStoredMatcher } from './stored-match.ts'
import { createWebhookCache } from './webhook-cache.ts'

export interface DispatcherDeps {
  readonly bus: MessageBus
  readonly store: EventStore
  readonly deliveryLog: LiveDeliveryLog
  readonly index: MessageIndex
  readonly offsets: Offsets
  readonly pool: Pool
  readonly waiter: ProjectionWaiter
  readonly keyring: Keyring
  readonly live: LiveProcesses
  readonly macs: Pick<EventMacs, 'attemptIdOf'>
  readonly policy: AddressPolicy
  readonly registry: Registry
  readonly log: Log
  /** An id that is unique to this start of the process. */
  readonly processId: string
  /** Notified when rows of the schedule were parked, or will be due soon. */
  readonly dueWake: Wake
  /** Returns the milliseconds between two queries for scheduled deliveries while none is due or parked. */
  readonly restMs: () => number
  /** Called soon after this process has parked rows. */
  readonly onParked: () => void
  readonly retryDelays: readonly number[]
  readonly maxInFlight: number
  readonly maxWaitingBytes: number
  readonly maxInFlightPerWebhook: number
  readonly maxInFlightPerHighThroughputWebhook: number
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly claimMs: number
  readonly userAgent: string
  /** A stage that fails for this many milliseconds without a success counts as a problem. Default 10,000. */
  readonly lastingFailureMs?: number
}
export interface Dispatcher {
  /** A sentence for the operator about why messages are not delivered, or null. */
  readonly problem: string | null
  /** Takes no more messages, finishes the requests in flight, parks the deliveries that wait, and saves the offsets. */
  stop(): Promise<void>
}

/** Starts the parts that bring an accepted message to its receivers. */
export function startDispatcher(deps: DispatcherDeps): Dispatcher {
  const { bus, store, deliveryLog, index, offsets, pool, keyring, macs, log, claimMs, requestTimeoutMs } = deps
  const stageHealth = new StageHealth(log, deps.lastingFailureMs === undefined ? {} : { lastingMs: deps.lastingFailureMs })
  const webhookCache = createWebhookCache({ changes: (cursor) => changedSince(pool, cursor), keyring, log })
  const schedule = createSchedule({ pool, owner: deps.processId, claimMs, onParked: deps.onParked })
  const slots = createSlots({
    total: deps.maxInFlight,
    maxWaitingBytes: deps.maxWaitingBytes,
    perWebhook: deps.maxInFlightPerWebhook,
    perHighThroughputWebhook: deps.maxInFlightPerHighThroughputWebhook,
    dispatchers: () => deps.live.count('dispatcher'),
  })
  const metrics = createDispatchMetrics(deps.registry, slots)
  const sender = createSender({
    policy: deps.policy,
    connectTimeoutMs: deps.connectTimeoutMs,
    requestTimeoutMs,
    userAgent: deps.userAgent,
  })
  const { now } = Date
  const deliver = createDeliverer({
    ...{ store, keyring, macs, webhookCache, slots, schedule, sender, metrics, log, now },
    retryDelays: deps.retryDelays,
    random: Math.random,
    readsImplied: () => deps.live.isVersion02Gone,
  })
  const gate = createRoutingGate({ head: () => store.head(webhooks.families), webhookCache, log })
  const historyCatchUp = createHistoryCatchUp({ head: () => store.head(dayFamilies), waiter: deps.waiter, log })
  const router = createRouter({
    ...{ gate, webhookCache, index, deliveryLog, schedule, store, deliver, metrics, stageHealth, log, now },
    historyCatchUp,
    readsMessagesRouted: () => deps.live.isVersion02Gone,
  })
  bus.indexWith?.(createStoredMatcher({ gate, webhookCache, log }))
  const stopping = new AbortController()
  const { signal } = stopping
  const dueDeps = {
    schedule,
    deliveryLog,
    historyCatchUp,
    webhookCache,
    slots,
    deliver,
    stageHealth,
    log,
    claimMs,
    restMs: deps.restMs,
  }
  const running = Promise.all([
    consume({ bus, offsets, router, pool, metrics, stageHealth, log }, signal),
    // Scheduled deliveries wait for the gate too, because a read model that is behind shows webhooks in an old state.
    gate.open().then(() => deliverScheduled({ ...dueDeps, requestMs: requestTimeoutMs, wake: deps.dueWake }, signal)),
  ])
  let hasFailed = false
  // Without this handler, an error before stop() would end the process without a log line.
  running.catch((error: unknown) => {
    hasFailed = true
    log.error({ error }, 'dispatcher.failed')
  })
  return {
    get problem() {
      if (hasFailed) return 'The dispatcher has failed and needs a restart: see dispatcher.failed in the log.'
      return gate.isOpen ? stageHealth.problem : 'Routing waits for the read model of webhooks.'
    },
    async stop() {
      bus.indexWith?.(null)
      stopping.abort()
      slots.close()
      await gate.stop()
      await running
      slots.stop()
      await sender.close()
    },
  }
}
