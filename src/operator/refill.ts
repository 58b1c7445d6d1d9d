import type { Pool } from 'pg'
import type { Config } from '../config/config.ts'
import { archiveAgain } from '../dispatch/archive-again.ts'
import { createOffsets } from '../dispatch/offsets.ts'
import { scheduleRetries } from '../dispatch/retries.ts'
import { routedMessagesOf } from '../dispatch/routed.ts'
import { createSchedule, type Schedule } from '../dispatch/schedule.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { DeliveryRef } from '../events/refs.ts'
import { chunks } from '../lib/chunks.ts'
import { KolbakError } from '../lib/errors.ts'
import { createLeaseShares } from '../lib/lease-shares.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import type { DeliveryLog, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import { listBuilds } from '../projections/builds.ts'
import { deliveries } from '../projections/deliveries.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import type { Projection } from '../projections/projection.ts'
import { startProjection } from '../projections/runner.ts'
import { createProjectionProgress } from '../projections/waiter.ts'
import { checkEngines } from '../service/engine-checks.ts'
import { openEngines } from '../service/engines/open.ts'
import { chooseEngines, postgresEngines } from '../service/engines/table.ts'
import { checkOffline, openRecorder, runUntilDrained, workOffline } from './offline.ts'
import { recorded } from './recorded-act.ts'

export interface Refilled {
  /** The number of events of routing and attempts that this Postgres had not read. */
  readonly events: number
  /** The number of messages that were missing in the message index. */
  readonly messages: number
  /** The number of deliveries that were parked because they were routed, never attempted, and had no row. */
  readonly parked: number
  /** The number of messages whose body was archived again, because the archive is in this Postgres and the bus still has the messages. */
  readonly bodies: number
  /** The number of deliveries that have not ended, including parked deliveries. */
  readonly owed: number
}

/**
 * Brings a Postgres that was restored from an older backup up to date with the event store, which has later events. The Postgres may also be empty,
 * except for its `data_keys`. No process of the service may run meanwhile. The events after the backup are exactly those that the restored projection
 * `deliveries` has not read yet. So the refill runs this projection up to the head, with its usual retries. With each batch it also restores rows
 * that no projection restores: rows of the message index, and deliveries that were parked or claimed. Then the other read models are brought up to
 * date, so that no message is sent with the old settings of a webhook.
 *
 * Each batch is committed with its checkpoint, so that an interrupted refill can be started again.
 * Throws KolbakError `nothing_to_refill`, `still_running` and `engine_behind`.
 */
export async function refill(config: Config, log: Log): Promise<Refilled> {
  const engines = chooseEngines(config)
  if (engines.event_store === postgresEngines.event_store)
    throw new KolbakError('nothing_to_refill', 'The events are in this Postgres too and were restored with it: start the service.')
  const refilled = await workOffline(config, log, async (deps, pool) => {
    await checkOffline(pool)
    const opened = await openEngines(engines, deps)
    const [store, bus, deliveryLog] = [opened.events.adapter, opened.messages.adapter, opened.history.adapter]
    await checkEngines({ store, bus, pool })
    return recorded(await openRecorder(deps, pool, store), { command: 'operate refill', arguments: {} }, async () => {
      // Bodies are restored first. Otherwise a due retry would end as a dead letter (`payload_expired`) before its record is redelivered.
      const isArchiveLost = engines.delivery_log === postgresEngines.delivery_log && bus.readBodies === undefined
      const bodies = isArchiveLost ? await archiveAgain({ bus, offsets: createOffsets(pool, bus.identity), archive: deliveryLog, log }) : 0
      return { ...(await readToHead({ store, deliveryLog, pool, leases: deps.leases, log })), bodies }
    })
  })
  await runUntilDrained(config, ['projector'], log)
  return refilled
}

interface ReadDeps {
  readonly store: EventStore
  readonly deliveryLog: DeliveryLog
  readonly pool: Pool
  readonly leases: LeaseKeeper
  readonly log: Log
}
/** Runs the projection `deliveries` up to the head. Also restores the rows that no projection restores. */
async function readToHead({ store, deliveryLog, pool, leases, log }: ReadDeps): Promise<Omit<Refilled, 'bodies'>> {
  const restored = { events: 0, messages: 0, parked: 0 }
  const index = createMessageIndex(pool)
  const schedule = createSchedule({ pool, owner: 'refill', claimMs: 0 })
  const restore = async (events: readonly RecordedEvent[], history: DeliveryReads) => {
    restored.events += events.length
    for (const messages of chunks(await routedMessagesOf(store, events), 500)) {
      restored.messages += (await index.insertNew(messages)).filter((isNew) => isNew).length
      const firstAttempts = messages.flatMap((message) => message.deliveries)
      for (const refs of chunks(firstAttempts, 1_000)) restored.parked += await parkUntouched(schedule, refs, history)
    }
  }
  const usual = deliveries(deliveryLog, scheduleRetries)
  const projection: Projection = {
    ...usual,
    // The rows are restored after the projection's own `prepare`, because the history then shows the state of each delivery.
    async prepare(events, of) {
      await usual.prepare?.(events, of)
      if (of.is_live) await restore(events, deliveryLog.historyOf(of.build))
    },
  }
  // The build that was live at the time of the backup may have been dropped since then, so it is created again.
  for (const { build } of await listBuilds(pool, projection.name)) await deliveryLog.makeBuild(build)

  const head = await store.head(projection.families)
  const sql = sqlOn(pool)
  const shares = createLeaseShares({ pool, leases, onError: (error) => log.warn({ error }, 'leases.failed') })
  const running = startProjection({ store, pool, shares, progress: createProjectionProgress(), log }, projection)
  try {
    for (let reportedAt = performance.now(); head !== null; await pause(50)) {
      const [live] = await sql<{ reached: boolean }>`
        select coalesce(checkpoint >= ${head}, false) as reached from projections where name = ${projection.name} and is_live`
      if (live?.reached) break
      if (performance.now() - reportedAt < 5_000) continue
      reportedAt = performance.now()
      log.info({ ...restored, ...running.status() }, 'refill.reading')
    }
  } finally {
    await running.stop()
  }
  const [owed] = await sql<{ rows: number }>`select count(*)::int as rows from scheduled_deliveries`
  return { ...restored, owed: owed?.rows ?? 0 }
}

/**
 * Parks the deliveries that were routed and never attempted. A later event about an attempt removes the row again. Returns how many
 * deliveries had no row before.
 */
async function parkUntouched(schedule: Schedule, owed: readonly DeliveryRef[], history: DeliveryReads): Promise<number> {
  // A delivery that is missing in the history has expired, like its body in the archive.
  const states = await history.states(owed)
  const untouched = owed.filter((_, i) => states[i]?.type === 'MessageRouted')
  if (untouched.length === 0) return 0
  const existing = await schedule.existing(untouched.map(({ delivery }) => delivery))
  const missing = untouched.filter(({ delivery }) => !existing.has(delivery))
  await Promise.all(missing.map((delivery) => schedule.park(delivery)))
  return missing.length
}
