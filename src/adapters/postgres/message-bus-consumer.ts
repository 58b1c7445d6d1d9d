import type { Pool } from 'pg'
import { createLeaseShares } from '../../lib/lease-shares.ts'
import type { Lease, LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import type { Notices } from '../../lib/notices.ts'
import { createPartitionRuns } from '../../lib/partition-runs.ts'
import { keepRunning } from '../../lib/retry.ts'
import type { BusRecord, MessageBus } from '../../ports/message-bus.ts'
import { createPartitionView, type PartitionReader, type PartitionView } from './message-bus-partition.ts'
import { watchForRecords } from './message-bus-watch.ts'

export interface ConsumerOptions {
  readonly pool: Pool
  readonly identity: string
  readonly partitions: number
  readonly leases: LeaseKeeper
  /** Returns the number of live consumers, including this one. */
  readonly consumers: () => number
  readonly notices: Notices
  readonly log: Log
  /** The fewest milliseconds between two divisions of the partitions among the processes. */
  readonly balanceMs: number
  /** Milliseconds after which a fetch without records returns. */
  readonly fetchWaitMs: number
}
interface MessageConsumer {
  consume: MessageBus['consume']
  /** Partitions that this process reads now. */
  owned(): readonly number[]
  /** Announces that this process is about to produce to a partition. */
  producing(partition: number): Producing
}
/** One produce of this process to a partition. It begins before the statement, and ends with it. */
interface Producing {
  /** Whether the consumer of the partition gets the records from memory, as far as this is known before the statement. */
  readonly passes: boolean
  /**
   * Hands records that this process has just committed to the partition's consumer. They follow the offset `previous`. The consumer gets their
   * entries only if this process has owned the partition since before the statement, because another owner may have found the records meanwhile.
   * Returns false when this process does not read the partition.
   */
  passOn(previous: bigint, records: readonly BusRecord[]): boolean
  end(): void
}
type Runs = ReturnType<typeof createPartitionRuns<BusRecord, PartitionView>>
type ConsumeOptions = Parameters<MessageBus['consume']>[0]

/** Limits of one read. */
const readLimit = { records: 500, bytes: 4 << 20 }
/**
 * The records of all partitions in the memory of a process that consumes all of them. Beyond their part of these bytes, the records of a partition
 * are dropped and read from the database later. One read of each partition may come on top.
 */
const maxHeldBytes = 128 << 20
const maxOffset = 9_223_372_036_854_775_807n

export function createMessageConsumer(options: ConsumerOptions): MessageConsumer {
  const { pool, identity, partitions, leases, consumers, notices, log, balanceMs, fetchWaitMs } = options
  const runs = createPartitionRuns<BusRecord, PartitionView>({ log, failurePause: { ms: balanceMs } })
  const maxHeld = { records: 5_000, bytes: Math.min(16 << 20, maxHeldBytes / partitions) }
  const onError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'bus.consume_failed')
  const shares = createLeaseShares({ pool, leases, processes: consumers, notices, balanceMs, onError })

  /** Consumes a partition until its lease is lost. */
  const run = async (partition: number, lease: Lease, { startAt, own }: ConsumeOptions) => {
    const reader = createPartitionReader(pool, partition, log)
    const ended = runs.start(partition, {
      open: async (lost) => createPartitionView({ startAt: await startAt(partition), lost, waitMs: fetchWaitMs, reader, maxHeld }),
      consume: own,
      isHeld: lease.isHeld,
    })
    const lose = () => runs.lose(partition)
    if (lease.lost.aborted) lose()
    else lease.lost.addEventListener('abort', lose, { once: true })
    await ended
    lease.lost.removeEventListener('abort', lose)
  }

  return {
    owned: runs.owned,
    producing: (partition) => producingTo(runs, partition),
    async consume(consumeOptions) {
      const { signal } = consumeOptions
      if (runs.running().length > 0) throw new Error('this bus is being consumed already')
      const keep = (partition: number) =>
        shares.keep(`bus/${identity}/${partition}`, (lease) => run(partition, lease, consumeOptions), { signal, onError })
      await Promise.all([
        keepRunning(() => watchForRecords({ pool, notices, owned: runs.owned, viewOf: runs.sourceOf }, signal), { signal, onError }),
        ...Array.from({ length: partitions }, (_, partition) => keep(partition)),
      ])
    },
  }
}

function producingTo(runs: Pick<Runs, 'sourceOf'>, partition: number): Producing {
  const source = runs.sourceOf(partition)
  return {
    passes: source?.passes ?? false,
    passOn(previous, records) {
      const present = runs.sourceOf(partition)
      present?.passOn(previous, present === source ? records : records.map(({ offset, bytes }) => ({ offset, bytes })))
      return present !== undefined
    },
    end: source?.producing() ?? (() => {}),
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
