import { appendLogEvent } from '../commands/log-events.ts'
import type { Metadata } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import { step } from '../events/steps.ts'
import { uuidV5 } from '../events/uuid.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { inSnapshot } from '../lib/sql.ts'
import { untilPoll } from '../lib/wake.ts'
import { RevisionConflict } from '../ports/event-store.ts'
import { readLogState } from '../projections/audit.ts'
import { lastStreamList, listStreams } from '../projections/stream-lists.ts'
import type { Shared } from './shared.ts'

/** The most milliseconds between two checks whether a list is due. */
const lookMs = 600_000

/**
 * Appends a StreamsListed every KOLBAK_LOG_LIST_SECONDS if the log has grown since the last one, in one process at a time. It is a commitment to the last
 * event of each stream, so that nobody can later hide an event from a proof of absence or from an export.
 */
export function startStreamLists({ store, streams, pools, leases, macs, config, parts, log }: Shared): void {
  const listMs = config.KOLBAK_LOG_LIST_SECONDS * 1_000
  const stopping = new AbortController()

  const isDue = async (): Promise<boolean> => {
    if (macs.start === null) return false
    const { size } = await readLogState(pools.reads)
    const last = await inSnapshot(pools.reads, (sql) => lastStreamList(sql, size))
    if (last === null) return size > 0
    const isNews = size > Number(last.index) + 1
    return isNews && Date.now() - Date.parse((JSON.parse(last.metadata) as Metadata).time) >= listMs
  }
  const append = async () => {
    const { size } = await readLogState(pools.reads)
    const data = await inSnapshot(pools.reads, (sql) => listStreams(sql, size))
    const id = uuidV5('log', 'streams', String(size), data.root) as EventId
    await step('log.list', () => appendLogEvent({ store, streams }, { id, type: 'StreamsListed', data, now: new Date() }))
  }
  const run = async () => {
    await pause(untilPoll(Math.min(listMs, lookMs)), stopping.signal)
    if (stopping.signal.aborted || !(await isDue())) return
    const lease = await leases.take('stream lists')
    if (lease === null) return
    try {
      if (await isDue()) await append()
    } catch (error) {
      // A batch was sealed at the same moment. The next check tries again.
      if (!(error instanceof RevisionConflict)) throw error
    } finally {
      await lease.release()
    }
  }
  const running = keepRunning(run, { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.list_failed') })
  parts.add('stream lists', async () => {
    stopping.abort()
    await running
  })
}
