import type { Pool } from 'pg'
import type { Notices } from '../../lib/notices.ts'
import { createWake, untilPoll } from '../../lib/wake.ts'
import type { PartitionView } from './message-bus-partition.ts'

interface WatchOptions {
  readonly pool: Pool
  readonly notices: Notices
  /** Returns the partitions that this process reads now. */
  owned(): readonly number[]
  viewOf(partition: number): Pick<PartitionView, 'seen'> | undefined
}

/** Milliseconds until the offsets are read again after a partition could not tell yet whether it has the record that a notice announced. */
const undecidedMs = 20

/** Reads the newest offsets after each notice of another process, and regularly, to find records of other processes. Runs until the signal aborts. */
export async function watchForRecords(options: WatchOptions, signal: AbortSignal): Promise<void> {
  const { notices } = options
  const wake = createWake()
  /** Whether a notice has announced a record, and a partition cannot tell yet whether it has this record. */
  let isNoticed = false
  const stopListening = notices.on('messages', () => {
    isNoticed = true
    wake.notify()
  })
  try {
    while (!signal.aborted) {
      await wake.wait(isNoticed ? undecidedMs : untilPoll(notices.pollMs), signal)
      const wasNoticed = isNoticed
      isNoticed = false
      if (!(await tellPartitions(options)) && wasNoticed) isNoticed = true
    }
  } finally {
    stopListening()
  }
}

/** Tells each partition its newest offset. Returns false if a partition cannot tell yet whether it has all records up to this offset. */
async function tellPartitions({ pool, owned, viewOf }: WatchOptions): Promise<boolean> {
  const partitions = owned()
  if (partitions.length === 0) return true
  const { rows } = await pool.query<{ partition: number; newest: bigint | null }>({
    name: 'messages-newest',
    text: `select partition, pg_sequence_last_value(('messages_offset_' || partition)::regclass) as newest
           from unnest($1::integer[]) as partition`,
    values: [`{${partitions.join(',')}}`],
  })
  const results = rows.map(({ partition, newest }) => (newest === null ? undefined : viewOf(partition)?.seen(newest)))
  return !results.includes('undecided')
}
