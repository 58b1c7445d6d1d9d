import type { Pool } from 'pg'
import type { RecordedEvent } from '../../events/envelope.ts'
import { dayOf } from '../../lib/days.ts'
import { EventForged, type EventMacs } from '../../lib/event-macs.ts'
import type { Log } from '../../lib/log.ts'
import { createUnderWay } from '../../lib/under-way.ts'
import type { BodyArchive, DeliveryHistory, DeliveryLog } from '../../ports/delivery-log.ts'
import type { MessageBus } from '../../ports/message-bus.ts'
import { createDayPartitions } from './day-partitions.ts'
import { createArchive } from './delivery-log-bodies.ts'
import { createHistoryBuilds } from './delivery-log-builds.ts'

interface PostgresDeliveryLogOptions {
  readonly pool: Pool
  /** The pool for the queries of the history. Its connections should force generic plans. */
  readonly readers: Pool
  readonly identity: string
  /** The bus. If it can read bodies, it is the archive. Otherwise this log has its own archive. */
  readonly bus: Pick<MessageBus, 'readBodies'>
  /**
   * Whether the event store is on the same database and keeps first successes as history. Default false. The history then reads these events, and has
   * no rows of its own for most of them.
   */
  readonly readsEvents?: boolean
  /** Checks the events that are read as history. Without it, no event counts as forged. */
  readonly macs?: Pick<EventMacs, 'faultOf'> | undefined
  readonly log: Log
}
export interface PostgresDeliveryLog extends DeliveryLog {
  /** Drops, in every build, the partitions whose accepted_at is before this day (`yyyy-mm-dd`). Returns their names. */
  dropDaysBefore(day: string): Promise<string[]>
}

/** Makes a delivery log whose archive and history are tables of Postgres, partitioned by the day on which a message was accepted. */
export async function createPostgresDeliveryLog(options: PostgresDeliveryLogOptions): Promise<PostgresDeliveryLog> {
  const { pool, readers, identity, bus, readsEvents = false, macs, log } = options
  const builds = createHistoryBuilds({ pool, readers, readsEvents, isForged: createForgeryCheck(macs, log), log })
  const bodyDays = createDayPartitions({
    pool,
    tables: bus.readBodies === undefined ? ['sealed_bodies'] : [],
    onError: (error) => log.warn({ error }, 'delivery_log.day_not_made_ahead'),
  })
  await bodyDays.ensure([dayOf(Date.now())])
  const archive: BodyArchive =
    bus.readBodies === undefined ? createArchive(pool, bodyDays) : { async archive() {}, bodies: bus.readBodies, async erase() {} }
  const calls = createUnderWay()
  return {
    identity,
    bodies: archive.bodies,
    erase: (messages) => calls.track(archive.erase(messages)),
    archive: (bodies) => calls.track(archive.archive(bodies)),
    historyOf(build): DeliveryHistory {
      const history = builds.open(build)
      return { ...history, record: (facts) => calls.track(history.record(facts)) }
    },
    makeBuild: builds.make,
    dropBuild: builds.drop,
    dropDaysBefore: async (day) => [...(await builds.dropDaysBefore(day)), ...(await bodyDays.dropBefore(day))],
    async close() {
      await calls.ended()
    },
  }
}

/** The most forged events that are remembered, so that each is logged once and not at each read. */
const maxReported = 1_000
/** Makes the function that says whether Kolbak has not written an event, and reports such an event. The check takes 5 µs. */
function createForgeryCheck(macs: PostgresDeliveryLogOptions['macs'], log: Log): (event: RecordedEvent) => boolean {
  const reported = new Set<string>()
  return (event) => {
    const fault = macs?.faultOf(event) ?? null
    if (fault === null) return false
    if (!reported.has(event.id)) {
      if (reported.size >= maxReported) reported.clear()
      reported.add(event.id)
      const delivery = 'delivery' in event.data ? event.data.delivery : null
      log.error({ error: new EventForged(event, fault), event: event.id, stream: event.stream, delivery }, 'history.event_forged')
    }
    return true
  }
}
