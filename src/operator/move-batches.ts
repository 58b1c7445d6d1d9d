import type { Pool } from 'pg'
import { isBatchSealed } from '../commands/log-events.ts'
import type { Config } from '../config/config.ts'
import { dayEntry, leafHash } from '../events/leaf.ts'
import { dayFamilies } from '../events/streams.ts'
import { rootOfLeaves } from '../lib/merkle.ts'
import { sqlOn } from '../lib/sql.ts'
import type { EventStore } from '../ports/event-store.ts'
import { eventsUpTo } from '../ports/events-up-to.ts'
import { storeBatchLeaves } from '../projections/batch-leaves.ts'
import { eventStoreSince } from '../service/batch-sealer.ts'
import { eventsOfBatch, oldestWholeDay } from './batch-events.ts'

/**
 * Stores the leaves of each batch that can still be computed. The new store has the events of a batch in another order, so without their leaves no attempt
 * from before the move could be proven.
 */
export async function keepBatchLeaves(pool: Pool, config: Config, source: EventStore): Promise<void> {
  const sql = sqlOn(pool)
  const since = await eventStoreSince(pool)
  const firstDay = oldestWholeDay(config)
  const dayHead = await source.head(dayFamilies)
  const logHead = await source.head(['log'])
  if (logHead === null) return
  for await (const events of eventsUpTo(source, { families: ['log'], after: null, upTo: logHead }))
    for (const event of events) {
      if (!isBatchSealed(event) || event.metadata.time <= since || event.data.oldest_day < firstDay) continue
      const leaves: Buffer[] = []
      for await (const page of eventsOfBatch(source, dayHead, event.data) ?? [])
        for (const day of page) leaves.push(leafHash(dayEntry(day)))
      // The leaves of a batch that was altered would prove nothing.
      if (rootOfLeaves(leaves).toString('base64') === event.data.root) await storeBatchLeaves(sql, event.revision, leaves)
    }
}
