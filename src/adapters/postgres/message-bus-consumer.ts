import type { Pool } from 'pg'
import type { Lease, LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import { createPartitionRuns } from '../../lib/partition-runs.ts'
import { keepRunning, pause } from '../../lib/retry.ts'
import type { BusRecord, MessageBus } from '../../ports/message-bus.ts'
import { createPartitionView, type PartitionReader, type PartitionView } from './message-bus-partition.ts'

export interface ConsumerOptions {
  readonly pool: Pool
  readonly identity: string
  readonly partitions: number
  readonly leases: LeaseKeeper
  /** Returns the number of live consumers, including this one. */
  readonly consumers: () => number
  readonly log: Log
  /** Milliseconds between two divisions of the partitions among the processes. */
  readonly balanceMs: number
  /** Milliseconds after which a fetch without records returns. */
  readonly fetchWaitMs: number
}
interface MessageConsumer {
  consume: MessageBus['consume']
  /** Partitions that this process reads now. */
  owned(): readonly number[]
  /** Announces that this process is about to produce to a partition. Call the returned function when the record is written. */
  producing(partition: number): () => void
  /** Hands records that this process has just committed to the partition's consumer. They follow the offset `previous`. */
  passOn(partition: number, previous: bigint, records: readonly BusRecord[]): void
}
type ConsumeOptions = Parameters<MessageBus['consume']>[0]

/**
 * Milliseconds between two polls for records of other processes. The delay is `min` after a poll that finds records. Otherwise it doubles, up to
 * `max`.
 */
const poll = { min: 2, max: 50 }
/** Limits of one read. */
const readLimit = { records: 500, bytes: 4 << 20 }
const maxOffset = 9_223_372_036_854_775_807n

export function createMessageConsumer(options: ConsumerOptions): MessageConsumer {
  const { pool, identity, partitions, leases, consumers, log, balanceMs, fetchWaitMs } = options
  const runs = createPartitionRuns<BusRecord, PartitionView>({ log })
  const nameOf = (partition: number) => `bus/${identity}/${partition}`

  const start = (partition: number, lease: Lease, { startAt, own, signal }: ConsumeOptions) => {
    const reader = createPartitionReader(pool, partition, log)
    const lose = runs.start(partition, {
      open: async (lost) => createPartitionView({ startAt: await startAt(partition), lost, waitMs: fetchWaitMs, reader }),
      own,
      isHeld: lease.isHeld,
      async finish() {
        // A lost lease is not released, because another process may have it by now.
        if (!lease.lost.aborted) await lease.release().catch((error: unknown) => log.warn({ error, partition }, 'bus.lease_not_released'))
      },
    })
    lease.lost.addEventListener('abort', lose, { once: true })
    if (lease.lost.aborted || signal.aborted) lose()
  }
  /** Takes free partitions up to the share of this process, and gives up partitions beyond the share. */
  const balance = async (consumeOptions: ConsumeOptions) => {
    const share = Math.ceil(partitions / Math.max(1, consumers()))
    const kept = runs.kept()
    for (const partition of kept.slice(share)) runs.lose(partition)
    let missing = share - kept.length
    if (missing <= 0) return
    // A lost partition is taken again only after its consumer has returned.
    const candidates = Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => !runs.has(partition))
    for (const partition of shuffled(await withoutLease(candidates))) {
      if (missing <= 0 || consumeOptions.signal.aborted) return
      const lease = await leases.take(nameOf(partition))
      if (lease === null) continue
      start(partition, lease, consumeOptions)
      missing--
    }
  }
  const withoutLease = async (candidates: readonly number[]): Promise<number[]> => {
    const { rows } = await pool.query<{ name: string }>({
      name: 'messages-leased',
      text: 'select name from leases where name = any ($1) and until >= clock_timestamp()',
      values: [candidates.map(nameOf)],
    })
    const leased = new Set(rows.map((row) => row.name))
    return candidates.filter((partition) => !leased.has(nameOf(partition)))
  }

  /** Polls for records that other processes have produced, for the partitions whose consumers wait. */
  const watch = async (signal: AbortSignal) => {
    let delay = poll.min
    while (!signal.aborted) {
      await pause(delay, signal)
      const waiting = runs.owned().filter((partition) => runs.sourceOf(partition)?.isWaiting)
      if (waiting.length === 0) continue
      const { rows } = await pool.query<{ partition: number; newest: bigint | null }>({
        name: 'messages-newest',
        text: `select partition, pg_sequence_last_value(('messages_offset_' || partition)::regclass) as newest
               from unnest($1::integer[]) as partition`,
        values: [`{${waiting.join(',')}}`],
      })
      const news = rows.filter(({ partition, newest }) => newest !== null && runs.sourceOf(partition)?.seen(newest))
      delay = news.length > 0 ? poll.min : Math.min(poll.max, delay * 2)
    }
  }

  return {
    owned: runs.owned,
    producing: (partition) => runs.sourceOf(partition)?.producing() ?? (() => {}),
    passOn: (partition, previous, records) => runs.sourceOf(partition)?.passOn(previous, records),
    async consume(consumeOptions) {
      const { signal } = consumeOptions
      if (runs.running().length > 0) throw new Error('this bus is being consumed already')
      const onError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'bus.consume_failed')
      const loseAll = () => {
        for (const partition of runs.running()) runs.lose(partition)
      }
      signal.addEventListener('abort', loseAll, { once: true })
      await Promise.all([
        keepRunning(() => watch(signal), { signal, onError }),
        keepRunning(
          async () => {
            await balance(consumeOptions)
            await pause(balanceMs, signal)
          },
          { signal, onError },
        ),
      ])
      loseAll()
      await runs.ended()
    },
  }
}

function createPartitionReader(pool: Pool, partition: number, log: Log): PartitionReader {
  return {
    async read(known, through) {
      const { rows } = await pool.query<BusRecord>({
        name: 'messages-read',
        text: 'select "offset", bytes from read_messages($1, $2, $3, $4, $5)',
        values: [partition, known, through ?? maxOffset, readLimit.records, readLimit.bytes],
      })
      const bytes = rows.reduce((sum, row) => sum + row.bytes.length, 0)
      return { records: rows, complete: rows.length < readLimit.records && bytes < readLimit.bytes }
    },
    async settled() {
      const { rows } = await pool.query<{ settled: bigint | null }>({
        name: 'messages-settled',
        text: 'select settled_offset($1) as settled',
        values: [partition],
      })
      return rows[0]?.settled ?? null
    },
    onError: (error, delayMs) => log.warn({ error, partition, delayMs }, 'bus.read_failed'),
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
