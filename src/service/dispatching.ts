import type { Registry } from 'prom-client'
import { type Dispatcher, startDispatcher } from '../dispatch/dispatcher.ts'
import { createOffsets, type Offsets } from '../dispatch/offsets.ts'
import { startReplaying } from '../dispatch/replaying.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import { userAgentOf } from '../lib/request-headers.ts'
import { createWake } from '../lib/wake.ts'
import { createLiveDeliveryLog } from '../projections/live-delivery-log.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import type { Shared } from './shared.ts'
import { version } from './version.ts'

/** Starts the dispatcher and the replay jobs. */
export function startDispatching(shared: Shared, { policy, registry }: { policy: AddressPolicy; registry: Registry }): Dispatcher {
  const { config, store, bus, deliveryLog, keyring, macs, pools, leases, live, waiter, processId, notices, parts, log } = shared
  const dueWake = createWake()
  notices.on('schedule', dueWake.notify)
  const dispatcher = startDispatcher({
    ...{ bus, store, keyring, macs, live, waiter, policy, registry, log, processId, dueWake },
    restMs: () => Math.max(2_000, notices.pollMs),
    deliveryLog: createLiveDeliveryLog({ log: deliveryLog, pool: pools.dispatch }),
    onParked: () => notices.tell('schedule'),
    index: createMessageIndex(pools.dispatch),
    offsets: createCommittingOffsets(shared),
    pool: pools.dispatch,
    retryDelays: config.KOLBAK_RETRY_DELAYS,
    maxInFlight: config.KOLBAK_MAX_IN_FLIGHT,
    maxWaitingBytes: config.KOLBAK_MAX_WAITING_BYTES,
    maxInFlightPerWebhook: config.KOLBAK_MAX_IN_FLIGHT_PER_WEBHOOK,
    maxInFlightPerHighThroughputWebhook: config.KOLBAK_MAX_IN_FLIGHT_PER_HIGH_THROUGHPUT_WEBHOOK,
    connectTimeoutMs: config.KOLBAK_CONNECT_TIMEOUT_MS,
    requestTimeoutMs: config.KOLBAK_REQUEST_TIMEOUT_MS,
    claimMs: config.KOLBAK_CLAIM_MS,
    userAgent: userAgentOf(version),
  })
  parts.add('dispatcher', dispatcher.stop)
  const replaying = startReplaying({
    ...{ store, keyring, macs, waiter, leases, notices, registry, log, pool: pools.reads, now: Date.now },
    deliveryLog: createLiveDeliveryLog({ log: deliveryLog, pool: pools.reads }),
  })
  parts.add('replay jobs', replaying.stop)
  return dispatcher
}

/** Makes the store of saved offsets. It also reports each saved offset to the tools of the bus. */
function createCommittingOffsets({ bus, pools, engines }: Shared): Offsets {
  const offsets = createOffsets(pools.dispatch, bus.identity)
  return {
    ...offsets,
    async save(next) {
      await offsets.save(next)
      engines.messages.committed?.(next)
    },
  }
}
