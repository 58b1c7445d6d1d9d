import type { Pool } from 'pg'
import type { Lease, LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import { keepRunning, pause } from '../../lib/retry.ts'
import type { BusRecord, MessageBus, OwnedPartition } from '../../ports/message-bus.ts'
import { createPartitionView, type PartitionView } from './message-bus-partition.ts'

export interface ConsumerOptions {
  readonly pool: Pool
  readonly identity: string
  readonly partitions: number
  readonly leases: LeaseKeeper
  /** Live consumers, this one included. */
  readonly consumers: () => number
  readonly log: Log
  /** How often leases are taken and given back. */
  readonly balanceMs: number
  /** A fetch that finds nothing answers after so long. */
  readonly fetchWaitMs: number
}
export interface Consumer {
  consume: MessageBus['consume']
  /** Partitions that this process has now. */
  owned(): readonly number[]
  /** This process is about to produce to a partition. Answers how to say that it is over. */
  producing(partition: number): () => void
  /** Records that this process has just committed to a partition, which follow the offset `previous`. */
  handOver(partition: number, previous: bigint, records: readonly BusRecord[]): void
}

interface Running {
  /** From when its consumer is told of it; null before. */
  view: PartitionView | null
  /** Ends its fetches; nothing of it is started any more. */
  readonly letGo: AbortController
  readonly done: Promise<void>
}

const poll = { min: 2, max: 50 }
/** One read brings at most so much. */
const readLimit = { records: 500, bytes: 4 << 20 }
const maxOffset = 9_223_372_036_854_775_807n

export function messageConsumer(options: ConsumerOptions): Consumer {
  const { pool, identity, partitions, leases, consumers, log, balanceMs, fetchWaitMs } = options
  const running = new Map<number, Running>()
  const nameOf = (partition: number) => `bus/${identity}/${partition}`

  const read = async (partition: number, known: bigint, through: bigint | null) => {
    const { rows } = await pool.query<BusRecord>({
      name: 'messages-read',
      text: 'select "offset", bytes from read_messages($1, $2, $3, $4, $5)',
      values: [partition, known, through ?? maxOffset, readLimit.records, readLimit.bytes],
    })
    const bytes = rows.reduce((sum, row) => sum + row.bytes.length, 0)
    return { records: rows, complete: rows.length < readLimit.records && bytes < readLimit.bytes }
  }
  const settled = async (partition: number) => {
    const { rows } = await pool.query<{ settled: bigint | null }>({
      name: 'messages-settled',
      text: 'select settled_offset($1) as settled',
      values: [partition],
    })
    return rows[0]?.settled ?? null
  }

  const own = async (partition: number, lease: Lease, state: Running, { startAt, own }: Parameters<MessageBus['consume']>[0]) => {
    const lost = state.letGo.signal
    const view = createPartitionView({
      startAt: await startAt(partition),
      lost,
      waitMs: fetchWaitMs,
      reader: {
        read: (known, through) => read(partition, known, through),
        settled: () => settled(partition),
        onError: (error, delayMs) => log.warn({ error, partition, delayMs }, 'bus.read_failed'),
      },
    })
    if (lost.aborted) return
    state.view = view
    const owned: OwnedPartition = {
      partition,
      lost,
      held: () => !lost.aborted && lease.held(),
      fetch: (max) => view.fetch(max),
    }
    log.info({ partition }, 'bus.partition_taken')
    await own(owned)
  }
  const start = (partition: number, lease: Lease, consumeOptions: Parameters<MessageBus['consume']>[0]) => {
    const letGo = new AbortController()
    const end = () => letGo.abort()
    lease.lost.addEventListener('abort', end, { once: true })
    const run = async () => {
      try {
        await own(partition, lease, state, consumeOptions)
      } catch (error) {
        // Whoever takes it next, this process included, begins at what was saved.
        log.error({ error, partition }, 'bus.consumer_failed')
      } finally {
        end()
        // A lost lease is not released: its name may have another holder by now.
        if (!lease.lost.aborted) await lease.release().catch((error: unknown) => log.warn({ error, partition }, 'bus.lease_not_released'))
        running.delete(partition)
        log.info({ partition }, 'bus.partition_left')
      }
    }
    const state: Running = { view: null, letGo, done: Promise.resolve().then(run) }
    running.set(partition, state)
    if (lease.lost.aborted || consumeOptions.signal.aborted) end()
  }
  /** Takes free partitions up to this process's share, and gives back what is above it. */
  const balance = async (consumeOptions: Parameters<MessageBus['consume']>[0]) => {
    const share = Math.ceil(partitions / Math.max(1, consumers()))
    const kept = [...running.values()].filter((state) => !state.letGo.signal.aborted)
    for (const state of kept.slice(share)) state.letGo.abort()
    let wanted = share - kept.length
    if (wanted <= 0) return
    // One that this process has lost is not taken again before its consumer has let go of it.
    const others = Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => !running.has(partition))
    for (const partition of shuffled(await free(others))) {
      if (wanted <= 0 || consumeOptions.signal.aborted) return
      const lease = await leases.take(nameOf(partition))
      if (lease === null) continue
      start(partition, lease, consumeOptions)
      wanted--
    }
  }
  const free = async (candidates: readonly number[]): Promise<number[]> => {
    const { rows } = await pool.query<{ name: string }>({
      name: 'messages-leased',
      text: 'select name from leases where name = any ($1) and until >= clock_timestamp()',
      values: [candidates.map(nameOf)],
    })
    const taken = new Set(rows.map((row) => row.name))
    return candidates.filter((partition) => !taken.has(nameOf(partition)))
  }

  /** Looks for what other processes have produced: often while there is some, seldom while there is none. */
  const watch = async (signal: AbortSignal) => {
    let delay = poll.min
    while (!signal.aborted) {
      await pause(delay, signal)
      const waiting = [...running].filter(([, state]) => state.view?.isWaiting)
      if (waiting.length === 0) continue
      const { rows } = await pool.query<{ partition: number; newest: bigint | null }>({
        name: 'messages-newest',
        text: `select partition, pg_sequence_last_value(('messages_offset_' || partition)::regclass) as newest
               from unnest($1::integer[]) as partition`,
        values: [`{${waiting.map(([partition]) => partition).join(',')}}`],
      })
      const news = rows.filter(({ partition, newest }) => newest !== null && running.get(partition)?.view?.seen(newest))
      delay = news.length > 0 ? poll.min : Math.min(poll.max, delay * 2)
    }
  }

  return {
    owned: () => [...running].filter(([, state]) => state.view !== null && !state.letGo.signal.aborted).map(([partition]) => partition),
    producing: (partition) => running.get(partition)?.view?.producing() ?? (() => {}),
    handOver: (partition, previous, records) => running.get(partition)?.view?.handOver(previous, records),
    async consume(consumeOptions) {
      const { signal } = consumeOptions
      if (running.size > 0) throw new Error('this bus is being consumed already')
      const onError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'bus.consume_failed')
      const letAllGo = () => {
        for (const state of running.values()) state.letGo.abort()
      }
      signal.addEventListener('abort', letAllGo, { once: true })
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
      letAllGo()
      await Promise.all([...running.values()].map((state) => state.done))
    },
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
