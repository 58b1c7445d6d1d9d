import { once } from 'node:events'
import { decodeRecord, type MessageRecord, placeOf, recordedRef } from '../events/message-record.ts'
import type { Log } from '../lib/log.ts'
import type { BodyArchive } from '../ports/delivery-log.ts'
import type { BusRecord, MessageBus, OwnedPartition } from '../ports/message-bus.ts'
import type { Offsets } from './offsets.ts'

interface ArchiveAgainDeps {
  readonly bus: MessageBus
  readonly offsets: Pick<Offsets, 'startAt'>
  readonly archive: Pick<BodyArchive, 'archive'>
  readonly log: Log
  /**
   * A partition counts as completely read after this many milliseconds without a record, because its last records may have expired. Default 10,000.
   */
  readonly silentMs?: number
}
const recordsPerFetch = 50

/**
 * Archives the sealed bodies of the records between the saved offsets and the ends of the bus. It does not route the records; the dispatcher does so
 * later. Returns the number of archived messages.
 */
export async function archiveAgain({ bus, offsets, archive, log, silentMs = 10_000 }: ArchiveAgainDeps): Promise<number> {
  const finished = new AbortController()
  const ends = await bus.ends()
  const unread = new Set<number>()
  for (const [partition, end] of ends) if ((await offsets.startAt(partition)) < end) unread.add(partition)
  if (unread.size === 0) return 0
  let archived = 0

  const archiveRecord = async (partition: number, { offset, bytes }: BusRecord) => {
    let record: MessageRecord
    try {
      record = decodeRecord(bytes)
    } catch (error) {
      // The dispatcher quarantines the record later.
      log.warn({ error, partition, offset: String(offset) }, 'record.undecodable')
      return
    }
    const bodies = record.messages.map((message, i) => ({
      ...recordedRef(record, message, placeOf(bus.identity, partition, offset, i)),
      sealedBody: message.sealedBody,
    }))
    await archive.archive(bodies)
    archived += bodies.length
  }
  const archivePartition = async (owned: OwnedPartition, end: bigint) => {
    let lastFetchAt = performance.now()
    while (!owned.lost.aborted && performance.now() - lastFetchAt < silentMs) {
      const records = await owned.fetch(recordsPerFetch)
      const last = records.at(-1)
      if (last === undefined) continue
      lastFetchAt = performance.now()
      for (const record of records) await archiveRecord(owned.partition, record)
      if (last.offset + 1n >= end) return
    }
  }
  await bus.consume({
    startAt: offsets.startAt,
    async own(owned) {
      await archivePartition(owned, ends.get(owned.partition) ?? 0n)
      if (owned.lost.aborted) return
      unread.delete(owned.partition)
      if (unread.size === 0) finished.abort()
      // The partition is kept until all partitions are read, because the bus would otherwise assign it to this process again.
      if (!owned.lost.aborted) await once(owned.lost, 'abort')
    },
    signal: finished.signal,
  })
  return archived
}
