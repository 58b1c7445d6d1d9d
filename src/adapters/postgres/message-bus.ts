import type { Pool } from 'pg'
import type { Place } from '../../events/ids.ts'
import { type MessageRecord, placeOf, rememberRecord } from '../../events/message-record.ts'
import { dayOf } from '../../lib/days.ts'
import { KolbakError } from '../../lib/errors.ts'
import { createGroupCommit, isDataError } from '../../lib/group-commit.ts'
import type { LeaseKeeper } from '../../lib/leases.ts'
import type { Log } from '../../lib/log.ts'
import { type Notices, noNotices } from '../../lib/notices.ts'
import { transaction } from '../../lib/sql.ts'
import { BusFull, type BusRecord, BusUnavailable, bytesOfRecord, type Matcher, type MessageBus } from '../../ports/message-bus.ts'
import { advisoryLocks } from './advisory-locks.ts'
import { createDayPartitions } from './day-partitions.ts'
import { createBodyEraser, createBodyReader } from './message-bus-bodies.ts'
import { createMessageConsumer } from './message-bus-consumer.ts'
import { busEnds, busLag, holdsNothingUnread, oldestOnBus } from './message-bus-retention.ts'
import { createRecordWriter, type RecordToWrite } from './message-bus-write.ts'

interface PostgresMessageBusOptions {
  readonly pool: Pool
  /** The pool for reading bodies, so that retries do not take the connections of new messages. Default: `pool`. */
  readonly readers?: Pool
  readonly identity: string
  /** Number of partitions. It may be higher than at the last start, but never lower. */
  readonly partitions: number
  readonly leases: LeaseKeeper
  /** Returns the number of live processes that consume, including this one if it consumes. */
  readonly consumers: () => number
  /** Default: none. Other processes then poll, and find new records within 50 ms. */
  readonly notices?: Notices
  readonly log: Log
  /** The most records that may wait to be written. Beyond them `produce` throws BusFull. Default 20,000. */
  readonly maxWaiting?: number
  /** The most bytes of records that may wait to be written. Default 64 MiB. */
  readonly maxWaitingBytes?: number
  /** The fewest milliseconds between two divisions of the partitions among the processes. Default 250. */
  readonly balanceMs?: number
  /** Milliseconds after which a fetch without records returns. Default 5,000. */
  readonly fetchWaitMs?: number
}
export interface PostgresMessageBus extends MessageBus {
  readBodies: NonNullable<MessageBus['readBodies']>
  eraseBodies: NonNullable<MessageBus['eraseBodies']>
  /**
   * Drops the day partitions before `day` (`yyyy-mm-dd`) that have no unread record. Returns their names.
   * @param savedOffsets the saved offset of each bus partition; records of a missing bus partition are not dropped
   */
  dropDaysBefore(day: string, savedOffsets: ReadonlyMap<number, bigint>): Promise<string[]>
}

/**
 * Makes a bus whose records are in a table of Postgres, with a sequence for each partition. Throws KolbakError `partitions_shrunk` when the
 * bus has more partitions than configured, because no process would read the records in them.
 */
export async function createPostgresMessageBus(options: PostgresMessageBusOptions): Promise<PostgresMessageBus> {
  const { pool, identity, partitions, log, notices = noNotices, maxWaiting = 20_000, maxWaitingBytes = 64 << 20 } = options
  await makeSequences(pool, partitions)
  const days = createDayPartitions({
    pool,
    tables: ['messages'],
    onError: (error) => log.warn({ error }, 'bus.day_not_made_ahead'),
  })
  await days.ensure([dayOf(Date.now())])
  const consumer = createMessageConsumer({
    ...options,
    notices,
    balanceMs: options.balanceMs ?? 250,
    fetchWaitMs: options.fetchWaitMs ?? 5_000,
  })

  // The first partition is random. Otherwise all processes that own no partition would begin with the same partition and wait for its lock.
  let groups = Math.floor(Math.random() * partitions)
  /**
   * Returns the partition for the next group of records. A partition that this process owns is preferred, because the process then delivers the
   * records from memory.
   */
  const nextPartition = (): number => {
    const owned = consumer.owned()
    return owned[groups++ % owned.length] ?? groups % partitions
  }
  const writeRecords = createRecordWriter({ pool, identity, days })
  let matcher: Matcher | null = null
  const write = async (records: readonly RecordToWrite[]): Promise<Place[]> => {
    const partition = nextPartition()
    const producing = consumer.producing(partition)
    let first: bigint
    try {
      // Entries are useful only if the records are passed on in memory, because the consumer of the partition then gets both together.
      const match = producing.passes ? (matcher?.match(records.map(({ record }) => record)) ?? null) : null
      const startedAt = performance.now()
      const written = await writeRecords(partition, records, match)
      if (written.isCurrent) matcher?.confirm(match!, startedAt)
      first = written.first
      const busRecords = records.map(({ bytes, record }, i): BusRecord => {
        rememberRecord(bytes, record)
        const entries = written.entries?.[i]
        return { offset: first + BigInt(i), bytes, ...(entries === undefined ? {} : { entries }) }
      })
      if (!producing.passOn(first - 1n, busRecords)) notices.tellOthers('messages')
    } finally {
      producing.end()
    }
    return records.map((_, i) => placeOf(identity, partition, first + BigInt(i), 0))
  }
  const group = createGroupCommit<RecordToWrite, Place>({
    write,
    bytesOf: ({ bytes }) => bytes.length,
    maxWaiting,
    full: () => new BusFull('more messages are waiting to be written than the limit allows: try again later'),
    isItemFault: isDataError,
  })
  let waitingBytes = 0
  let closed = false

  return {
    identity,
    async produce(record: MessageRecord) {
      if (closed) throw new BusUnavailable('the bus is closed')
      const bytes = bytesOfRecord(record)
      if (waitingBytes + bytes.length > maxWaitingBytes)
        throw new BusFull('more bytes are waiting to be written than the limit allows: try again later')
      waitingBytes += bytes.length
      try {
        return await group.add({ day: record.accepted_at.slice(0, 10), bytes, record })
      } catch (error) {
        if (error instanceof BusFull || isDataError(error)) throw error
        throw new BusUnavailable('Postgres did not confirm the message, so it is unknown whether the message was stored', { cause: error })
      } finally {
        waitingBytes -= bytes.length
      }
    },
    indexWith(newMatcher) {
      matcher = newMatcher
    },
    consume: consumer.consume,
    dropDaysBefore: (day, savedOffsets) => days.dropBefore(day, (client, partition) => holdsNothingUnread(client, partition, savedOffsets)),
    ends: () => busEnds(pool, partitions),
    lag: (saved) => busLag(pool, partitions, saved),
    oldest: (saved) => oldestOnBus(pool, partitions, saved),
    readBodies: createBodyReader(options.readers ?? pool, log),
    eraseBodies: createBodyEraser(pool),
    async close() {
      closed = true
      await group.idle()
    },
  }
}

async function makeSequences(pool: Pool, partitions: number): Promise<void> {
  await transaction(pool, async (client) => {
    // One process at a time creates sequences, because `if not exists` alone fails when two processes create the same sequence at once.
    await client.query('select pg_advisory_xact_lock($1)', [advisoryLocks.busSequences])
    const { rows } = await client.query<{ name: string }>(
      String.raw`select relname as name from pg_class where relkind = 'S' and relname ~ '^messages_offset_\d+$' and pg_table_is_visible(oid)`,
    )
    const sequenceNames = new Set(rows.map((row) => row.name))
    if (sequenceNames.size > partitions)
      throw new KolbakError(
        'partitions_shrunk',
        `The bus has ${sequenceNames.size} partitions, and their records must be read: set KOLBAK_PARTITIONS to ${sequenceNames.size} or more, not ${partitions}.`,
      )
    for (let partition = 0; partition < partitions; partition++)
      if (!sequenceNames.has(`messages_offset_${partition}`))
        await client.query(`create sequence messages_offset_${partition} minvalue 0 start 0 cache 1`)
  })
}
