import type { Pool } from 'pg'
import type { Config } from '../config/config.ts'
import { archiveAgain } from '../dispatch/archive-again.ts'
import { createOffsets } from '../dispatch/offsets.ts'
import { scheduleRetries } from '../dispatch/retries.ts'
import { routedIn } from '../dispatch/routed.ts'
import { createSchedule, type Schedule } from '../dispatch/schedule.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { DeliveryRef } from '../events/refs.ts'
import { chunks } from '../lib/chunks.ts'
import { KolbakError } from '../lib/errors.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import type { DeliveryReads } from '../ports/delivery-log.ts'
import { listBuilds } from '../projections/builds.ts'
import { deliveries } from '../projections/deliveries.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import type { Projection } from '../projections/projection.ts'
import { runProjection } from '../projections/runner.ts'
import { createProjectionProgress } from '../projections/waiter.ts'
import { checkEngines } from '../service/engine-checks.ts'
import { type Engines, openEngines } from '../service/engines.ts'
import { checkStopped, onStopped, runUntilDrained } from './offline.ts'

export interface Refilled {
  /** Events of routing and attempts that this Postgres had not read. */
  readonly events: number
  /** Messages that were missing in its index. */
  readonly messages: number
  /** Deliveries that were routed, never attempted, and in nobody's hands: parked. */
  readonly parked: number
  /** Messages whose body was archived again, where the archive is in this Postgres and Kafka still has them. */
  readonly bodies: number
  /** Deliveries that are owed now, parked ones included. */
  readonly owed: number
}

/**
 * Brings a Postgres that was put back to an older backup (or is empty, but for its `data_keys`) up to an event store that
 * went on, while no process runs. What came after the backup is exactly what the projection `deliveries` has not read: so
 * that is run up to the head, with its retries as always, and beside each batch with what nothing else would give back: rows
 * of the message index, and deliveries that were parked or in hand. Then the read models, so that nothing is sent to a
 * webhook as it was at the backup.
 *
 * Each batch is done with its checkpoint: cut off, it is begun again. Throws KolbakError `nothing_to_refill`,
 * `still_running` and `engine_behind`.
 */
export async function refill(config: Config, log: Log): Promise<Refilled> {
  if (config.EVENTSTOREDB_URL === undefined)
    throw new KolbakError('nothing_to_refill', 'The events are in this Postgres too, and were put back with it: just start the service.')
  const refilled = await onStopped(config, log, async (deps, pool) => {
    await checkStopped(pool)
    const engines = await openEngines(deps)
    const { store, bus, deliveryLog: archive } = engines
    await checkEngines({ store, bus, pool })
    // Or what is due would end for want of its body, before it has come again.
    const isArchiveLost = config.KAFKA_BROKERS !== undefined && config.CASSANDRA_CONTACT_POINTS === undefined
    const bodies = isArchiveLost ? await archiveAgain({ bus, offsets: createOffsets(pool, bus.identity), archive, log }) : 0
    return { ...(await readOn(engines, pool, deps.leases, log)), bodies }
  })
  await runUntilDrained(config, ['projector'], log)
  return refilled
}

/** Runs the projection `deliveries` up to the head. */
async function readOn({ store, deliveryLog }: Engines, pool: Pool, leases: LeaseKeeper, log: Log): Promise<Omit<Refilled, 'bodies'>> {
  const found = { events: 0, messages: 0, parked: 0 }
  const index = createMessageIndex(pool)
  const rows = createSchedule({ pool, owner: 'refill', claimMs: 0 })
  const usual = deliveries(deliveryLog, async (sql, events) => {
    await scheduleRetries(sql, events)
  })
  const restore = async (events: readonly RecordedEvent[], history: DeliveryReads) => {
    found.events += events.length
    for (const some of chunks(await routedIn(store, events), 500)) {
      found.messages += (await index.claim(some)).filter((isNew) => isNew).length
      for (const owed of chunks(
        some.flatMap((message) => message.owed),
        1_000,
      ))
        found.parked += await parkUntouched(rows, owed, history)
    }
  }
  const projection: Projection = {
    ...usual,
    // Here, and not in the transaction: the history has these events by then, and is asked what became of each delivery.
    async prepare(events, of) {
      await usual.prepare?.(events, of)
      if (of.is_live) await restore(events, deliveryLog.generation(of.build))
    },
  }
  // One that was live at the backup may have been followed by another since, and dropped.
  for (const { build } of await listBuilds(pool, projection.name)) await deliveryLog.makeGeneration(build)

  const head = await store.head(projection.families)
  const sql = sqlOn(pool)
  const running = runProjection({ store, pool, leases, progress: createProjectionProgress(), log }, projection)
  try {
    for (let told = performance.now(); head !== null; await pause(50)) {
      const [live] = await sql<{ reached: boolean }>`
        select coalesce(checkpoint >= ${head}, false) as reached from projections where name = ${projection.name} and is_live`
      if (live?.reached) break
      if (performance.now() - told < 5_000) continue
      told = performance.now()
      log.info({ ...found, ...running.status() }, 'refill.reading')
    }
  } finally {
    await running.stop()
  }
  const [owed] = await sql<{ rows: number }>`select count(*)::int as rows from scheduled_deliveries`
  return { ...found, owed: owed?.rows ?? 0 }
}

/**
 * Parks those of which there is nothing but their routing; an attempt that stands further on in the events takes the row
 * away again. Answers how many were without a row.
 */
async function parkUntouched(rows: Schedule, owed: readonly DeliveryRef[], history: DeliveryReads): Promise<number> {
  // Unknown is what the history has let go of, for its age: so has the archive its body.
  const states = await history.states(owed)
  const untouched = owed.filter((_, i) => states[i]?.type === 'MessageRouted')
  if (untouched.length === 0) return 0
  const existing = await rows.existing(untouched.map(({ delivery }) => delivery))
  const missing = untouched.filter(({ delivery }) => !existing.has(delivery))
  await Promise.all(missing.map((delivery) => rows.park(delivery)))
  return missing.length
}
