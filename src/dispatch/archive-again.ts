import { once } from 'node:events'
import { decodeRecord, placeOf, recordedRef } from '../events/message-record.ts'
import type { Log } from '../lib/log.ts'
import type { BodyArchive } from '../ports/delivery-log.ts'
import type { MessageBus, OwnedPartition } from '../ports/message-bus.ts'
import type { Offsets } from './offsets.ts'

export interface ArchiveAgainDeps {
  readonly bus: MessageBus
  readonly offsets: Pick<Offsets, 'startAt'>
  readonly archive: Pick<BodyArchive, 'archive'>
  readonly log: Log
  /** A partition that gives nothing for so long has let go of what is left before its end. */
  readonly silentMs?: number
}
const recordsAtOnce = 50

/**
 * Archives the sealed bodies of what the bus still has from the saved offsets to its ends, and does nothing else: the records come
 * again to whoever routes them. Answers how many messages they were.
 */
export async function archiveAgain({ bus, offsets, archive, log, silentMs = 10_000 }: ArchiveAgainDeps): Promise<number> {
  const over = new AbortController()
  const ends = await bus.ends()
  const unread = new Set<number>()
  for (const [partition, end] of ends) if ((await offsets.startAt(partition)) < end) unread.add(partition)
  if (unread.size === 0) return 0
  let archived = 0

  const read = async (partition: OwnedPartition, end: bigint) => {
    let heardAt = performance.now()
    while (!partition.lost.aborted && performance.now() - heardAt < silentMs) {
      const records = await partition.fetch(recordsAtOnce)
      const last = records.at(-1)
      if (last === undefined) continue
      heardAt = performance.now()
      for (const { offset, bytes } of records) {
        let record: ReturnType<typeof decodeRecord>
        try {
          record = decodeRecord(bytes)
        } catch (error) {
          log.warn({ error, partition: partition.partition, offset: String(offset) }, 'record.unreadable') // set aside when it comes again
          continue
        }
        const { messages } = record
        const refAt = (index: number) => recordedRef(record, messages[index]!, placeOf(bus.identity, partition.partition, offset, index))
        await archive.archive(messages.map(({ sealedBody }, i) => ({ ...refAt(i), sealedBody })))
        archived += messages.length
      }
      if (last.offset + 1n >= end) return
    }
  }
  await bus.consume({
    startAt: offsets.startAt,
    async own(partition) {
      await read(partition, ends.get(partition.partition) ?? 0n)
      if (partition.lost.aborted) return
      unread.delete(partition.partition)
      if (unread.size === 0) over.abort()
      if (!partition.lost.aborted) await once(partition.lost, 'abort') // till then it is ours to have
    },
    signal: over.signal,
  })
  return archived
}
