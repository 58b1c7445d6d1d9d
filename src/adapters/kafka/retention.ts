import type { Admin } from 'kafkajs'
import { untilDone } from '../../lib/retry.ts'

/** With the back-off of `untilDone` 1.5 s: as long as an election of leaders takes. */
const mostTries = 6

/** What kafkajs calls retriable, and its admin does not retry: partitions whose leader is new. Throws the last error. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  let tries = 0
  const isFinal = (error: unknown) => ++tries >= mostTries || !(error instanceof Error && 'retriable' in error && error.retriable === true)
  return untilDone(work, { isFinal, onError() {} }) // the last one is thrown
}

/** The offsets of the first record of each partition and after its last one. */
export async function busBounds(admin: Admin, topic: string): Promise<Map<number, { low: bigint; high: bigint }>> {
  const partitions = await patiently(() => admin.fetchTopicOffsets(topic))
  return new Map(partitions.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]))
}

/**
 * Deletes records that came before the time (milliseconds), but none at or after the first unread one of its partition.
 * Kafka's own retention does not know what is unread, so the topic is kept without one. Answers how many were deleted.
 * @param unread for each partition the first offset not done; one that is missing is all unread
 */
export async function expireRecords(admin: Admin, topic: string, before: number, unread: ReadonlyMap<number, bigint>): Promise<number> {
  // First of all: what comes meanwhile lies beyond, and a partition without a younger record ends here.
  const bounds = await busBounds(admin, topic)
  const younger = await patiently(() => admin.fetchTopicOffsetsByTimestamp(topic, before))
  const deleted = younger.flatMap(({ partition, offset }) => {
    const found = bounds.get(partition)
    if (found === undefined) return []
    const through = smallest(BigInt(offset), found.high, unread.get(partition) ?? 0n)
    return through > found.low ? [{ partition, offset: through, count: through - found.low }] : []
  })
  if (deleted.length === 0) return 0
  await admin.deleteTopicRecords({
    topic,
    partitions: deleted.map(({ partition, offset }) => ({ partition, offset: String(offset) })),
  })
  return Number(deleted.reduce((sum, { count }) => sum + count, 0n))
}

const smallest = (...values: bigint[]): bigint => values.reduce((least, value) => (value < least ? value : least))
