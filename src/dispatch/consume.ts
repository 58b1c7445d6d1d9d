import type { Pool } from 'pg'
import { decodeRecord, type MessageRecord, placeOf } from '../events/message-record.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause, untilDone } from '../lib/retry.ts'
import { createWake } from '../lib/wake.ts'
import type { BusRecord, MessageBus, OwnedPartition } from '../ports/message-bus.ts'
import { describe } from '../projections/apply-batch.ts'
import type { DispatchMetrics } from './metrics.ts'
import { createOffsetTracker, type Offsets, type OffsetTracker } from './offsets.ts'
import type { Router } from './route.ts'

export interface ConsumeDeps {
  readonly bus: MessageBus
  readonly offsets: Offsets
  readonly router: Router
  readonly pool: Pool
  readonly metrics: DispatchMetrics
  readonly log: Log
  /** Messages and deliveries that are not done, over all partitions: beyond it fetching waits. */
  readonly maxInHand?: number
  /** Bytes of records that are not done. */
  readonly maxBytesInHand?: number
  readonly saveEveryMs?: number
}

const mostRecords = 500
const firstGuess = 100

/** Takes what has come from the bus, and saves the offset of the first message not done. Runs until the signal aborts. */
export async function consume(deps: ConsumeDeps, signal: AbortSignal): Promise<void> {
  const { bus, offsets, router, pool, metrics, log, maxInHand = 2_000, maxBytesInHand = 64 << 20, saveEveryMs = 200 } = deps
  interface Held {
    readonly tracker: OffsetTracker
    saved: bigint
    /** Messages that are not settled. */
    underWay: number
    /** A message was lost on the way, though the partition may not be: `held` can be false for a moment and true again. */
    hasLost: boolean
  }
  const partitions = new Map<number, Held>()
  const starts = new Map<number, bigint>()
  const room = createWake()
  let inHand = 0
  let bytesInHand = 0
  // A record holds up to a thousand messages: how many is learnt from what came last.
  let perRecord = firstGuess
  const isFull = () => inHand >= maxInHand || bytesInHand >= maxBytesInHand

  const setAside = (partition: number, offset: bigint, error: unknown) => {
    metrics.unreadable.inc()
    log.error({ error, partition, offset: String(offset) }, 'record.unreadable')
    return untilDone(
      () =>
        pool.query(
          `insert into quarantined_records (bus, partition, record_offset, error) values ($1, $2, $3, $4)
           on conflict (bus, partition, record_offset) do nothing`,
          [bus.identity, partition, offset, describe(error)],
        ),
      { onError: (cause, delayMs) => log.warn({ error: cause, delayMs }, 'record.set_aside_failed') },
    )
  }
  const take = async (partition: OwnedPartition, held: Held, busRecord: BusRecord): Promise<void> => {
    const { offset, bytes } = busRecord
    let record: MessageRecord
    try {
      record = decodeRecord(bytes)
    } catch (error) {
      const done = held.tracker.add(offset, 1)
      await setAside(partition.partition, offset, error)
      done()
      return
    }
    const { messages } = record
    const size = bytes.length
    const oneDone = held.tracker.add(offset, messages.length)
    let left = messages.length
    held.underWay += messages.length
    bytesInHand += size
    await Promise.all(
      messages.map((message, i) => {
        let weight = 1
        let over = false
        inHand += weight
        return router.route({
          record,
          message,
          place: placeOf(bus.identity, partition.partition, offset, i),
          held: () => partition.held(),
          owes(deliveries) {
            inHand += deliveries
            weight += deliveries
          },
          refuse: (error) => setAside(partition.partition, offset, error),
          settled(done) {
            if (over) return
            over = true
            inHand -= weight
            held.underWay--
            if (--left === 0) bytesInHand -= size
            if (done) oneDone()
            else held.hasLost = true
            if (!isFull() || held.underWay === 0) room.notify()
          },
        })
      }),
    )
  }
  const save = async () => {
    const next = new Map<number, bigint>()
    for (const [partition, { tracker, saved }] of partitions) if (tracker.next > saved) next.set(partition, tracker.next)
    await offsets.save(next)
    for (const [partition, offset] of next) {
      const held = partitions.get(partition)
      if (held !== undefined) held.saved = offset
    }
  }
  const own = async (partition: OwnedPartition): Promise<void> => {
    const start = starts.get(partition.partition) ?? 0n
    const held: Held = { tracker: createOffsetTracker(start), saved: start, underWay: 0, hasLost: false }
    partitions.set(partition.partition, held)
    log.debug({ partition: partition.partition, offset: String(start) }, 'partition.taken')
    // Where a message was lost the partition is let go of: it is given again, and begins at what is saved.
    while (!partition.lost.aborted && !held.hasLost) {
      while (isFull() && !partition.lost.aborted) await room.wait(100, partition.lost)
      const records = await partition.fetch(Math.max(1, Math.min(mostRecords, Math.floor((maxInHand - inHand) / perRecord))))
      // What comes once it is lost is the next owner's.
      if (partition.lost.aborted || records.length === 0) continue
      const before = held.underWay
      const taken = records.map((record) => take(partition, held, record))
      perRecord = Math.max(1, (held.underWay - before) / records.length)
      await Promise.all(taken)
    }
    // What is under way is finished and appended: its offsets count whoever saves them.
    while (held.underWay > 0) await room.wait(100)
    await untilDone(save, { onError: onSaveError })
    if (partitions.get(partition.partition) === held) partitions.delete(partition.partition)
    log.debug({ partition: partition.partition, offset: String(held.tracker.next) }, 'partition.left')
  }
  const onSaveError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'offsets.save_failed')

  const saving = new AbortController()
  const saves = keepRunning(
    async () => {
      await pause(saveEveryMs, saving.signal)
      await save()
    },
    { signal: saving.signal, onError: onSaveError },
  )
  try {
    await bus.consume({
      async startAt(partition) {
        const offset = await offsets.startAt(partition)
        starts.set(partition, offset)
        return offset
      },
      own,
      signal,
    })
  } finally {
    saving.abort()
    await saves
  }
}
