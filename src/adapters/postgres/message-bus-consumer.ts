import type { Pool } from 'pg'
import type { Lease, LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import type { Notices } from '../../lib/notices.ts'
import { createPartitionRuns } from '../../lib/partition-runs.ts'
import { createBackoff, keepRunning } from '../../lib/retry.ts'
import { createWake } from '../../lib/wake.ts'
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

/** The most milliseconds between two divisions of the partitions while nothing changes. */
const maxBalanceMs = 2_000
/** Limits of one read. */
const readLimit = { records: 500, bytes: 4 << 20 }
const maxOffset = 9_223_372_036_854_775_807n

export function createMessageConsumer(options: ConsumerOptions): MessageConsumer {
  const { pool, identity, partitions, leases, consumers, notices, log, balanceMs, fetchWaitMs } = options
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
  /** Takes free partitions up to the share of this process, and gives up partitions beyond the share. Returns the number of taken ones. */
  const balance = async (consumeOptions: ConsumeOptions): Promise<number> => {
    const share = Math.ceil(partitions / Math.max(1, consumers()))
    const partitionsKept = runs.kept()
    for (const partition of partitionsKept.slice(share)) runs.lose(partition)
    let missing = share - partitionsKept.length
    let taken = 0
    if (missing <= 0) return taken
    // A lost partition is taken again only after its consumer has returned.
    const candidates = Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => !runs.has(partition))
    for (const partition of shuffled(await withoutLease(candidates))) {
      if (missing <= 0 || consumeOptions.signal.aborted) break
      const lease = await leases.take(nameOf(partition))
      if (lease === null) continue
      start(partition, lease, consumeOptions)
      missing--
      taken++
    }
    return taken
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

  /**
   * Divides the partitions again when a process has started or stopped. Without such a change it does so at growing intervals, because a lease of a
   * killed process becomes free without a notice.
   */
  const keepBalance = async (consumeOptions: ConsumeOptions) => {
    const { signal } = consumeOptions
    const wake = createWake()
    const delays = createBackoff(balanceMs, Math.max(balanceMs, maxBalanceMs))
    const stopListening = notices.on('processes', () => {
      delays.reset()
      wake.notify()
    })
    try {
      while (!signal.aborted) {
        if ((await balance(consumeOptions)) > 0) delays.reset()
        await wake.wait(delays.next(), signal)
      }
    } finally {
      stopListening()
    }
  }

  return {
    owned: runs.owned,
    producing: (partition) => producingTo(runs, partition),
    async consume(consumeOptions) {
      const { signal } = consumeOptions
      if (runs.running().length > 0) throw new Error('this bus is being consumed already')
      const onError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'bus.consume_failed')
      const loseAll = () => {
        for (const partition of runs.running()) runs.lose(partition)
      }
      signal.addEventListener('abort', loseAll, { once: true })
      await Promise.all([
        keepRunning(() => watchForRecords({ pool, notices, owned: runs.owned, viewOf: runs.sourceOf }, signal), { signal, onError }),
        keepRunning(() => keepBalance(consumeOptions), { signal, onError }),
      ])
      loseAll()
      await runs.ended()
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

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
