import type { Config } from '../config/config.ts'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { dayFamilies } from '../events/streams.ts'
import { dayOf, msPerDay } from '../lib/days.ts'
import type { EventStore } from '../ports/event-store.ts'
import { eventsUpTo } from '../ports/events-up-to.ts'

/**
 * Returns the events of a batch as the event store has them now, or null if it has none after `from`.
 * @param head the head of the event store for the day families
 */
export function eventsOfBatch(
  store: Pick<EventStore, 'subscribe'>,
  head: Checkpoint | null,
  { from, through }: { readonly from: string | null; readonly through: string },
): AsyncIterable<readonly RecordedEvent[]> | null {
  // If there were no event after `from`, a subscription would wait for ever.
  if (head === null || head <= (from ?? '')) return null
  const upTo = through < head ? (through as Checkpoint) : head
  return eventsUpTo(store, { families: dayFamilies, after: from as Checkpoint | null, upTo })
}

/** Returns the oldest day of which the retention has dropped no event. Batches with events of older days cannot be computed any more. */
export const oldestWholeDay = ({ KOLBAK_RETENTION_DAYS: days }: Pick<Config, 'KOLBAK_RETENTION_DAYS'>): string =>
  dayOf(Date.now() - (days - 1) * msPerDay)
