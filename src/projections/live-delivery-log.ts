import type { Pool } from 'pg'
import type { TenantId } from '../events/ids.ts'
import type { BodyArchive, DeliveryLog, DeliveryReads } from '../ports/delivery-log.ts'
import { projectionNames } from './names.ts'

/** The delivery log for readers and dispatchers. It shows one history, even while a new one is built. */
export type LiveDeliveryLog = BodyArchive & DeliveryReads

/** The most dead letters that are listed in order to count them. */
const maxListed = 1_000
/** Counts dead letters on an engine that can only list them. */
async function countListed(history: DeliveryReads, tenants: readonly TenantId[], limit: number): Promise<number> {
  let count = 0
  for (const tenant of tenants) {
    if (count >= limit) break
    count += (await history.deadLetters({ tenant, limit: limit - count })).length
  }
  return count
}

/**
 * Makes the reader of the live history. The history and the projection `deliveries` have builds with the same numbers, so the live build of the
 * projection tells which build of the history is live.
 *
 * Each call reads the last known live build and, at the same time, asks Postgres which build is live. So the question does not delay
 * the call. If Postgres names another build, the call reads that build instead. So a caller that has waited until the projection contains an event
 * also gets the rows of this event.
 */
export function createLiveDeliveryLog({
  log,
  pool,
}: {
  log: DeliveryLog
  pool: Pool
}): LiveDeliveryLog & Required<Pick<DeliveryReads, 'countDeadLetters'>> {
  let lastLive: number | undefined
  const queryLiveBuild = async (): Promise<number> => {
    const { rows } = await pool.query<{ build: number }>({
      name: 'deliveries-live-build',
      text: `select build from projections where name = '${projectionNames.deliveries}' and is_live`,
    })
    if (rows[0] === undefined) throw new Error('the projection `deliveries` has no live build: install the projections first')
    lastLive = rows[0].build
    return lastLive
  }
  const readLive = async <T>(query: (history: DeliveryReads) => Promise<T>): Promise<T> => {
    const build = lastLive ?? (await queryLiveBuild())
    const [live, result] = await Promise.allSettled([queryLiveBuild(), query(log.historyOf(build))])
    if (live.status === 'rejected') throw live.reason
    if (live.value !== build) return query(log.historyOf(live.value))
    if (result.status === 'fulfilled') return result.value
    // The build may have been dropped while it was read.
    const newLive = await queryLiveBuild()
    if (newLive === build) throw result.reason
    return query(log.historyOf(newLive))
  }
  return {
    archive: (bodies) => log.archive(bodies),
    bodies: (messages) => log.bodies(messages),
    erase: (messages) => log.erase(messages),
    states: (keys) => readLive((history) => history.states(keys)),
    find: (tenant, delivery) => readLive((history) => history.find(tenant, delivery)),
    attempts: (keys) => readLive((history) => history.attempts(keys)),
    history: (webhook, query) => readLive((history) => history.history(webhook, query)),
    undelivered: (query) => readLive((history) => history.undelivered(query)),
    deadLetterGroups: (query) => readLive((history) => history.deadLetterGroups(query)),
    deadLetters: (query) => readLive((history) => history.deadLetters(query)),
    countDeadLetters: (tenants, limit) =>
      readLive((history) => history.countDeadLetters?.(tenants, limit) ?? countListed(history, tenants, Math.min(limit, maxListed))),
  }
}
