import type { Admin } from 'kafkajs'
import { untilDone } from '../../lib/retry.ts'

/** The most tries. With the back-off of `untilDone` they take 1.5 s, which is about as long as the election of a leader. */
const mostTries = 6

/**
 * Repeats the work after errors that kafkajs calls retriable but does not retry in its admin client, such as a partition with a new leader.
 * Throws the last error.
 */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  let tries = 0
  const isFinal = (error: unknown) => ++tries >= mostTries || !(error instanceof Error && 'retriable' in error && error.retriable === true)
  return untilDone(work, { isFinal, onError() {} })
}

/** Returns for each partition the offset of its first record (low) and the offset after its last record (high). */
export async function busBounds(admin: Admin, topic: string): Promise<Map<number, { low: bigint; high: bigint }>> {
  const partitions = await patiently(() => admin.fetchTopicOffsets(topic))
  return new Map(partitions.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]))
}

/**
 * Deletes the records that are done and were stored before the time (milliseconds). Kafka's retention is off for the topic, because Kafka does
 * not know which records are unread. Returns the number of deleted records.
 * @param savedOffsets the saved offset of each partition; records of a missing partition are not deleted
 */
export async function expireRecords(
  admin: Admin,
  topic: string,
  before: number,
  savedOffsets: ReadonlyMap<number, bigint>,
): Promise<number> {
  // The bounds are read first, so that records that are stored meanwhile lie beyond them. If a partition has no record younger than `before`, its
  // records are deleted up to the bound.
  const bounds = await busBounds(admin, topic)
  const younger = await patiently(() => admin.fetchTopicOffsetsByTimestamp(topic, before))
  const deleted = younger.flatMap(({ partition, offset }) => {
    const bound = bounds.get(partition)
    if (bound === undefined) return []
    const through = smallest(BigInt(offset), bound.high, savedOffsets.get(partition) ?? 0n)
    return through > bound.low ? [{ partition, offset: through, count: through - bound.low }] : []
  })
  if (deleted.length === 0) return 0
  await admin.deleteTopicRecords({
    topic,
    partitions: deleted.map(({ partition, offset }) => ({ partition, offset: String(offset) })),
  })
  return Number(deleted.reduce((sum, { count }) => sum + count, 0n))
}

const smallest = (...values: bigint[]): bigint => values.reduce((least, value) => (value < least ? value : least))
