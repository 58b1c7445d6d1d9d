import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import { factsOf } from '../events/delivery-facts.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { step } from '../events/steps.ts'
import { dayFamilies, familyOf } from '../events/streams.ts'
import { messageRefColumns, messageRefs } from '../lib/ref-columns.ts'
import { type Sql, sqlText } from '../lib/sql.ts'
import type { DeliveryLog } from '../ports/delivery-log.ts'
import { recordStatistics } from './delivery-statistics.ts'
import { projectionNames } from './names.ts'
import type { Projection } from './projection.ts'
import { recordHealth } from './webhook-health.ts'

/**
 * Returns whether something waits for the effects of an event. Nothing waits for the usual events of a delivery, because they cause no effect, and the
 * history shows most of them without a row.
 */
const isUrgent = ({ type, stream }: RecordedEvent): boolean =>
  familyOf(stream) !== 'access' && type !== 'MessageRouted' && type !== 'MessagesRouted' && type !== 'DeliverySucceeded'

/** Returns the events of the history of deliveries. Accesses are read only because they are sealed in the same batches. */
const historyIn = (events: readonly RecordedEvent[]): readonly RecordedEvent[] => {
  const isAccess = ({ stream }: RecordedEvent) => familyOf(stream) === 'access'
  return events.some(isAccess) ? events.filter((event) => !isAccess(event)) : events
}

/**
 * Makes the projection of routing and attempts. It first writes the facts to the delivery log. In the transaction of the checkpoint it then writes
 * statistics, rejected messages, the health of webhooks, and the next attempts. A build that is not live writes only its own history and statistics.
 */
export const deliveries = (
  deliveryLog: Pick<DeliveryLog, 'historyOf' | 'makeBuild' | 'dropBuild'>,
  /** Schedules the attempts that follow from the events. Returns whether one of them will be due soon. */
  scheduleRetries: (sql: Sql, events: readonly RecordedEvent[]) => Promise<boolean>,
  /** Called after a commit that scheduled an attempt which will be due soon. */
  onDueSoon: () => void = () => {},
): Projection => {
  let isDueSoon = false
  return {
    name: projectionNames.deliveries,
    version: 1,
    families: dayFamilies,
    gathering: { ms: 500, urgentMs: 50, isUrgent },
    externalBuilds: {
      create: (build) => deliveryLog.makeBuild(build),
      drop: (build) => deliveryLog.dropBuild(build),
    },
    async prepare(events, { build }) {
      const facts = historyIn(events).flatMap(factsOf)
      if (facts.length > 0) await step('history.record', () => deliveryLog.historyOf(build).record(facts))
    },
    async apply(sql, stored, { build, is_live, applied_to }) {
      const events = historyIn(stored)
      const uncounted = applied_to === null ? events : events.filter(({ position }) => position > applied_to)
      await recordStatistics(sql, build, uncounted)
      if (!is_live) return
      const rejected = (events as readonly RecordedDeliveryEvent[])
        .filter((event) => event.type === 'MessageRejected')
        .map(({ data }) => data)
      if (rejected.length > 0)
        await sql`insert into message_rejections (tenant, message, place, fingerprint, accepted_at)
        select tenant, message, place, fingerprint, accepted_at
        from unnest(${messageRefs(rejected)}) as rejected (${sqlText(messageRefColumns)})
        on conflict (tenant, message, place) do nothing`
      await recordHealth(sql, events)
      isDueSoon = (await scheduleRetries(sql, events)) || isDueSoon
    },
    afterCommit() {
      if (!isDueSoon) return
      isDueSoon = false
      onDueSoon()
    },
  }
}
