import { createIdempotencyKeys } from '../api/idempotency-keys.ts'
import { createReplayJobs } from '../commands/replay-jobs.ts'
import { createOffsets } from '../dispatch/offsets.ts'
import { families } from '../events/streams.ts'
import { commonCheckpoint } from '../projections/builds.ts'
import { expireStatistics } from '../projections/delivery-statistics.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import type { Projection } from '../projections/projection.ts'
import { type Sweep, startRetention } from './retention.ts'
import type { Shared } from './shared.ts'

/** Starts the sweeps, which drop data older than the retention. */
export function startSweeps(shared: Shared, projections: readonly Projection[]): void {
  const { config, leases, log, parts } = shared
  const sweeping = startRetention({
    ...{ leases, log, now: Date.now },
    retentionDays: config.KOLBAK_RETENTION_DAYS,
    sweeps: createSweeps(shared, projections),
  })
  parts.add('retention', sweeping.stop)
}

function createSweeps({ bus, engines, pools: { reads } }: Shared, projections: readonly Projection[]): Sweep[] {
  const readersOfDayStreams = projections.filter((projection) => projection.families.some((family) => families[family] === 'day'))
  const offsets = createOffsets(reads, bus.identity)
  return [
    { name: 'idempotency keys', run: () => createIdempotencyKeys({ pool: reads, now: Date.now }).expire() },
    { name: 'message index', run: (day) => createMessageIndex(reads).expire(`${day}T00:00:00.000Z`) },
    { name: 'messages', run: async (day) => engines.messages.expire(day, await offsets.saved()) },
    {
      name: 'events of days',
      async run(day) {
        const passed = await commonCheckpoint(reads, readersOfDayStreams)
        return passed === null ? 0 : engines.events.expire(day, passed)
      },
    },
    { name: 'delivery log', run: engines.history.expire },
    { name: 'statistics', run: (day) => expireStatistics(reads, day) },
    { name: 'replay jobs', run: (day) => createReplayJobs(reads).expire(day) },
  ]
}
