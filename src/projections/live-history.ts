import type { Pool } from 'pg'
import type { BodyArchive, DeliveryLog, DeliveryReads } from '../ports/delivery-log.ts'

/** The delivery log as readers and dispatchers know it: one history, which may be built anew meanwhile. */
export type LiveDeliveryLog = BodyArchive & DeliveryReads

/**
 * Readers of the history's live generation, whose number is the live build of the projection `deliveries`.
 *
 * A generation is read and Postgres asked which is the live one at the same time: an answer counts only when its generation
 * was live after the call had begun, so that whoever has waited for the projection finds what it waited for. That costs a
 * look-up by a prepared statement, beside the read and not before it.
 */
export function createLiveDeliveryLog({ log, pool }: { log: DeliveryLog; pool: Pool }): LiveDeliveryLog {
  let known: number | undefined
  const askLive = async (): Promise<number> => {
    const { rows } = await pool.query<{ build: number }>({
      name: 'deliveries-live-build',
      text: `select build from projections where name = 'deliveries' and is_live`,
    })
    if (rows[0] === undefined) throw new Error('the projection `deliveries` has no live build: install the projections first')
    known = rows[0].build
    return known
  }
  const read = async <T>(work: (history: DeliveryReads) => Promise<T>): Promise<T> => {
    const from = known ?? (await askLive())
    const [live, answer] = await Promise.allSettled([askLive(), work(log.generation(from))])
    if (live.status === 'rejected') throw live.reason
    if (live.value !== from) return work(log.generation(live.value))
    if (answer.status === 'fulfilled') return answer.value
    // It may have been dropped under the reader's hands.
    const now = await askLive()
    if (now === from) throw answer.reason
    return work(log.generation(now))
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
