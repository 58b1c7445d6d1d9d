import type { Pool } from 'pg'
import type { BodyArchive, DeliveryLog, DeliveryReads } from '../ports/delivery-log.ts'

/** The delivery log for readers and dispatchers: one history, which may be built anew meanwhile. */
export type LiveDeliveryLog = BodyArchive & DeliveryReads

/**
 * Reads the history's live build, whose number is that of the live build of the projection `deliveries`.
 *
 * Each call reads the build that was live last and asks Postgres for the live build at the same time, so that the question costs no
 * extra wait. The result is used only when that build was still live after the call had begun: a caller that has waited for the
 * projection thus finds what it waited for.
 */
export function createLiveDeliveryLog({ log, pool }: { log: DeliveryLog; pool: Pool }): LiveDeliveryLog {
  let lastLive: number | undefined
  const askLive = async (): Promise<number> => {
    const { rows } = await pool.query<{ build: number }>({
      name: 'deliveries-live-build',
      text: `select build from projections where name = 'deliveries' and is_live`,
    })
    if (rows[0] === undefined) throw new Error('the projection `deliveries` has no live build: install the projections first')
    lastLive = rows[0].build
    return lastLive
  }
  const read = async <T>(work: (history: DeliveryReads) => Promise<T>): Promise<T> => {
    const build = lastLive ?? (await askLive())
    const [live, result] = await Promise.allSettled([askLive(), work(log.historyOf(build))])
    if (live.status === 'rejected') throw live.reason
    if (live.value !== build) return work(log.historyOf(live.value))
    if (result.status === 'fulfilled') return result.value
    // The build may have been dropped while it was read.
    const newLive = await askLive()
    if (newLive === build) throw result.reason
    return work(log.historyOf(newLive))
  }
  return {
    archive: (bodies) => log.archive(bodies),
    bodies: (messages) => log.bodies(messages),
    states: (keys) => read((history) => history.states(keys)),
    find: (tenant, delivery) => read((history) => history.find(tenant, delivery)),
    attempts: (keys) => read((history) => history.attempts(keys)),
    history: (webhook, query) => read((history) => history.history(webhook, query)),
    deadLetters: (query) => read((history) => history.deadLetters(query)),
  }
}
