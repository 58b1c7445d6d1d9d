import { createEndpointManager } from '../dispatch/endpoint-manager.ts'
import { createErasureManager } from '../dispatch/erasure-manager.ts'
import { createKeyDeletedManager, webhooksOfKey } from '../dispatch/key-deleted.ts'
import { scheduleRetries } from '../dispatch/retries.ts'
import { createLeaseShares } from '../lib/lease-shares.ts'
import { apiKeys } from '../projections/api-keys.ts'
import { audit } from '../projections/audit.ts'
import { installProjections } from '../projections/builds.ts'
import { deliveries } from '../projections/deliveries.ts'
import { keyVersions } from '../projections/key-versions.ts'
import { checkAgainstLastHead } from '../projections/log-heads.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import { projectionNames } from '../projections/names.ts'
import type { Projection } from '../projections/projection.ts'
import { type ProjectionStatus, startProjection } from '../projections/runner.ts'
import { tenants } from '../projections/tenants.ts'
import { webhookVersions } from '../projections/webhook-versions.ts'
import { webhooks } from '../projections/webhooks.ts'
import { createBatchSealer } from './batch-sealer.ts'
import { whenAvailable } from './patience.ts'
import type { Shared } from './shared.ts'

/** Makes every projection and process manager, and installs missing tables. It does not start them. */
export async function openProjections({
  store,
  bus,
  deliveryLog,
  streams,
  keyring,
  waiter,
  pools,
  notices,
  patience,
  log,
}: Shared): Promise<readonly Projection[]> {
  const now = () => new Date().toISOString()
  const projections = [
    tenants(keyring),
    apiKeys(keyring),
    webhooks,
    keyVersions,
    webhookVersions,
    { ...audit, checkBuild: checkAgainstLastHead },
    deliveries(deliveryLog, scheduleRetries, () => notices.tell('schedule')),
    createEndpointManager({ streams, pool: pools.projections, waiter, log, now }),
    createErasureManager({
      ...{ streams, deliveryLog, bus, keyring, log, now, pool: pools.projections, index: createMessageIndex(pools.reads) },
      onDue: () => notices.tell('schedule'),
      onKeysDestroyed: () => notices.tellOthers('keys'),
    }),
    createKeyDeletedManager({ streams, webhooksOf: webhooksOfKey({ store, waiter, pool: pools.reads }), log, now }),
  ]
  await whenAvailable('postgres', () => installProjections(pools.projections, projections), patience)
  notices.tellOthers('builds')
  return projections
}

/** Runs projections in this process. Returns a function that reports their states. */
export function startProjections(shared: Shared, projections: readonly Projection[]): () => ProjectionStatus[] {
  const { store, pools, leases, live, notices, progress, macs, parts, log } = shared
  const shares = createLeaseShares({
    ...{ pool: pools.leases, leases, notices },
    processes: () => live.count('projector'),
    onError: (error, delayMs) => log.warn({ error, delayMs }, 'projections.share_failed'),
  })
  // Parts stop in reverse order. The sealer is added before the runners, so it stops after them and seals the events that they have applied.
  const { observe } = createBatchSealer(shared)
  const observed = projections.map((projection) =>
    projection.name === projectionNames.deliveries ? { ...projection, observe } : projection,
  )
  const running = observed.map((projection) => {
    const runner = startProjection({ store, pool: pools.projections, shares, notices, progress, macs, log }, projection)
    parts.add(`projection ${projection.name}`, runner.stop)
    return runner
  })
  return () => running.map((runner) => runner.status())
}
