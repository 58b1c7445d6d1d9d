import type { Pool } from 'pg'
import { appendLogEvent, type BatchSealed, lastBatch, readLogEnd } from '../commands/log-events.ts'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import { dayEntry, leafHash } from '../events/leaf.ts'
import { type LogEvents, logHeadEvent } from '../events/log.ts'
import { step } from '../events/steps.ts'
import { dayFamilies, dayOfStream } from '../events/streams.ts'
import { uuidV5 } from '../events/uuid.ts'
import { createMerkleTree } from '../lib/merkle.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import { untilPoll } from '../lib/wake.ts'
import { RevisionConflict } from '../ports/event-store.ts'
import { eventsUpTo } from '../ports/events-up-to.ts'
import type { Shared } from './shared.ts'

/** A batch is sealed at this number of events, so that it can be computed again in some seconds. */
const maxEvents = 262_144

export interface BatchSealer {
  /**
   * Takes events of day streams that the projection `deliveries` has just applied: all that were stored after `after` and up to `checkpoint`. It
   * returns a promise only if earlier events must be read first.
   */
  observe(events: readonly RecordedEvent[], after: Checkpoint | null, checkpoint: Checkpoint): Promise<void> | undefined
}

interface Batch {
  readonly from: Checkpoint
  through: Checkpoint
  readonly tree: ReturnType<typeof createMerkleTree>
  oldest_day: string
  readonly startedAt: number
  /** Whether all events are about messages that bring heads of the log to subscribers. */
  hasOnlyHeads: boolean
}

/** Begins a batch with its first event, which is not added yet. */
const beginBatch = (event: RecordedEvent, from: Checkpoint): Batch => ({
  from,
  through: event.position,
  tree: createMerkleTree(),
  oldest_day: dayOfStream(event.stream),
  startedAt: performance.now(),
  hasOnlyHeads: true,
})
function addTo(batch: Batch, event: RecordedEvent): void {
  batch.tree.push(leafHash(dayEntry(event)))
  batch.through = event.position
  if (batch.hasOnlyHeads) batch.hasOnlyHeads = isAboutHeads(event)
  const day = dayOfStream(event.stream)
  if (day < batch.oldest_day) batch.oldest_day = day
}

/** Returns whether an event is about the delivery of a head of the log. */
function isAboutHeads({ data }: RecordedEvent): boolean {
  const { event, messages } = data as { readonly event?: unknown; readonly messages?: unknown }
  return Array.isArray(messages) ? messages.every((message) => message?.event === logHeadEvent) : event === logHeadEvent
}

/** Returns since when (RFC 3339) the present event store is in use, or an empty text. Batches from before that time name positions of another store. */
export async function eventStoreSince(pool: Pool): Promise<string> {
  const [engine] = await sqlOn(pool)<{ since: string }>`select since from engines where port = 'event_store'`
  return engine?.since ?? ''
}
/** The error when another process has sealed events that this process wanted to seal. */
class SealedElsewhere extends Error {}

type SealerDeps = Pick<Shared, 'store' | 'streams' | 'macs' | 'pools' | 'config' | 'parts' | 'log'>

/** Returns the position up to which events are sealed. @param upTo the position up to which they were applied */
async function sealedUpTo({ macs, pools }: SealerDeps, last: BatchSealed | null, upTo: Checkpoint | null): Promise<Checkpoint> {
  const start = macs.start!
  if (last === null) return start // mutation: first-events-unsealed
  // Positions in batches of a former event store mean nothing here, so the batches begin again with the next event.
  const isOfThisStore = last.metadata.time > (await eventStoreSince(pools.reads))
  return isOfThisStore ? (last.data.through as Checkpoint) : (upTo ?? start)
}
/** Appends a batch that follows the batch `lastId`. Returns its id. Throws SealedElsewhere if another batch is the last one. */
async function seal({ store, streams }: SealerDeps, { from, through, tree, oldest_day }: Batch, lastId: EventId | null): Promise<EventId> {
  const root = tree.root().toString('base64')
  const data: LogEvents['BatchSealed'] = { of: 'deliveries', from, through, count: tree.size, root, oldest_day }
  // The root is part of the id, so that another process with another content never counts as a repetition.
  const id = uuidV5('log', 'deliveries', from, through, root) as EventId
  // The end is read first. So a batch that another process seals after the comparison makes the append fail.
  const end = await readLogEnd(store) // mutation: end-read-late
  const last = await lastBatch(store)
  if ((last?.id ?? null) !== lastId && last?.id !== id) throw new SealedElsewhere() // mutation: sealed-twice
  await step('log.batch', () => appendLogEvent({ store, streams }, { id, type: 'BatchSealed', data, now: new Date() }, end))
  return id
}

/**
 * Seals the events of day streams in batches. Some seconds after the first event of a batch, it appends BatchSealed. This event names the range of
 * positions, the number of events and the root of their Merkle tree. So an attempt that is changed, added or removed later is detected. The projection
 * passes the events on, so that they are not read a second time.
 *
 * The only lasting state is the stream of the log. After a start, the events after the last batch are read again.
 */
export function createBatchSealer(shared: SealerDeps): BatchSealer {
  const { store, macs, config, parts, log } = shared
  const sealMs = config.KOLBAK_LOG_BATCH_SECONDS * 1_000
  /** The position up to which every event is in a batch, or undefined before the first event and after a conflict. */
  let reached: Checkpoint | undefined
  /** The last batch in the log, as far as this process knows. */
  let lastId: EventId | null = null
  /** The position up to which the projection has applied events, or undefined before it has passed some on. */
  let applied: Checkpoint | null | undefined
  let batch: Batch | null = null
  let resuming: Promise<void> | null = null
  let sealing: Promise<void> | null = null
  const stopping = new AbortController()

  const push = (event: RecordedEvent) => {
    if (reached === undefined || event.position <= reached) return
    batch ??= beginBatch(event, reached)
    addTo(batch, event)
    reached = event.position
  }
  /** Continues after the last batch. Events that came after it and were applied before `upTo` are read again. */
  const resume = async (upTo: Checkpoint | null) => {
    reached = undefined
    batch = null
    await sealing // mutation: resumed-while-sealing
    const last = await lastBatch(store)
    reached = await sealedUpTo(shared, last, upTo)
    lastId = last?.id ?? null
    if (upTo === null || reached >= upTo) return
    const missed = eventsUpTo(store, { families: dayFamilies, after: reached, upTo, stop: stopping.signal })
    for await (const events of missed) for (const event of events) push(event) // mutation: missed-events-unsealed
  }
  /** Continues, or leaves it to the next try. The events are in the store, so none is lost. */
  const resumeOnce = (upTo: Checkpoint | null): Promise<void> => {
    resuming = resume(upTo)
      .catch((error: unknown) => {
        reached = undefined
        log.warn({ error }, 'log.batch_failed')
      })
      .finally(() => {
        resuming = null
      })
    return resuming
  }
  /** Seals the present batch. New events begin the next one meanwhile. */
  const sealPresent = async (): Promise<void> => {
    const presentBatch = batch
    if (presentBatch === null || macs.start === null || presentBatch.hasOnlyHeads) return
    batch = null
    try {
      lastId = await seal(shared, presentBatch, lastId)
    } catch (error) {
      // Another process has sealed events, or the result of the append is unknown. In both cases the stream shows where to continue.
      reached = undefined
      batch = null
      if (!(error instanceof RevisionConflict || error instanceof SealedElsewhere)) log.warn({ error }, 'log.batch_failed')
    }
  }
  const sealIfDue = () => {
    // A new batch leads to a new head, which is sent to subscribers. The events of these deliveries alone must not lead to the next batch.
    if (batch === null || sealing !== null || batch.hasOnlyHeads) return
    if (performance.now() - batch.startedAt < sealMs && batch.tree.size < maxEvents) return
    sealing = sealPresent().finally(() => {
      sealing = null
    })
  }
  const running = keepRunning(
    async () => {
      await pause(untilPoll(Math.min(5_000, sealMs)), stopping.signal)
      // After a failure, the events are read again, because it may take long until the next event comes.
      if (reached === undefined && applied !== undefined && resuming === null) await resumeOnce(applied) // mutation: not-resumed-by-itself
      sealIfDue()
      await sealing
    },
    { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.batch_failed') },
  )
  parts.add('log batches', async () => {
    stopping.abort()
    await running
    await sealing
    await sealPresent()
  })
  const take = (events: readonly RecordedEvent[], checkpoint: Checkpoint) => {
    for (const event of events) push(event)
    applied = checkpoint
    if (reached !== undefined && checkpoint > reached) reached = checkpoint
    sealIfDue()
  }
  const observe: BatchSealer['observe'] = (events, after, checkpoint) => {
    if (macs.start === null) return undefined
    if (resuming !== null) return resuming.then(() => observe(events, after, checkpoint))
    if (reached !== undefined && (after ?? '') <= reached) {
      take(events, checkpoint)
      return undefined
    }
    return resumeOnce(after).then(() => take(events, checkpoint))
  }
  return { observe }
}
