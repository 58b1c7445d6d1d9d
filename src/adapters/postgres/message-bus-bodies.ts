import type { Pool } from 'pg'
import { decodeRecord, type MessageRecord, parsePlace } from '../../events/message-record.ts'
import type { MessageRef } from '../../events/refs.ts'
import type { Log } from '../../lib/log.ts'
import type { MessageBus } from '../../ports/message-bus.ts'

/** Makes the reader of bodies for a bus whose records are also the archive. So bodies are not written twice, and they expire with the records. */
export function createBodyReader(pool: Pool, log: Log): NonNullable<MessageBus['readBodies']> {
  /**
   * Returns the records at these places, under the keys `partition/offset`. A record that several messages share is read once.
   */
  const recordsAt = async (refs: readonly MessageRef[]): Promise<Map<string, MessageRecord>> => {
    const places = new Map<string, { partition: number; offset: bigint; day: string }>()
    for (const { place, accepted_at } of refs) {
      const { partition, offset } = parsePlace(place)
      if (Number.isInteger(partition)) places.set(`${partition}/${offset}`, { partition, offset, day: accepted_at.slice(0, 10) })
    }
    const distinct = [...places.values()]
    const { rows } = await pool.query<{ partition: number; offset: bigint; record: Buffer }>(
      // `cross join lateral` with a limit probes the index once for each place. No plan can turn it into a join that reads whole days.
      `select k.partition, k."offset", m.record
       from unnest($1::integer[], $2::bigint[], $3::date[]) as k (partition, "offset", day)
       cross join lateral (
         select record from messages where partition = k.partition and "offset" = k."offset" and day = k.day limit 1
       ) as m`,
      [
        `{${distinct.map((place) => place.partition).join(',')}}`,
        `{${distinct.map((place) => place.offset).join(',')}}`,
        `{${distinct.map((place) => place.day).join(',')}}`,
      ],
    )
    const records = new Map<string, MessageRecord>()
    for (const { partition, offset, record } of rows)
      try {
        records.set(`${partition}/${offset}`, decodeRecord(record))
      } catch (error) {
        // The messages of this record count as expired. The messages of the other records are still returned.
        log.error({ error, partition, offset: String(offset) }, 'delivery_log.body_unreadable')
      }
    return records
  }
  return async (refs) => {
    if (refs.length === 0) return []
    const records = await recordsAt(refs)
    return refs.map((ref) => {
      const { partition, offset, index } = parsePlace(ref.place)
      const message = records.get(`${partition}/${offset}`)?.messages[index]
      // If the place belongs to another bus, this bus has another message at the place.
      if (message === undefined || message.id !== ref.message || message.fingerprint !== ref.fingerprint) return null
      return Buffer.from(message.sealedBody) // the copy is needed because a view would keep the whole record in memory
    })
  }
}
