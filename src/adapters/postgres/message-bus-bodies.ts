import type { Pool } from 'pg'
import { decodeRecord, encodeRecord, type Message, type MessageRecord, parsePlace } from '../../events/message-record.ts'
import type { MessageRef } from '../../events/refs.ts'
import { erasedBody, isErased } from '../../events/sealed-body.ts'
import type { Log } from '../../lib/log.ts'
import { transaction } from '../../lib/sql.ts'
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
      const message = messageAt(records.get(`${partition}/${offset}`), index, ref)
      if (message === null) return null
      return Buffer.from(message.sealedBody) // the copy is needed because a view would keep the whole record in memory
    })
  }
}

/** Returns the message with this index in a record, or null if the message there is not that of the ref, because the place belongs to another bus. */
function messageAt(record: MessageRecord | undefined, index: number, ref: MessageRef): Message | null {
  const message = record?.messages[index]
  return message === undefined || message.id !== ref.message || message.fingerprint !== ref.fingerprint ? null : message
}

/** Makes the function that erases the bodies of messages in the records of the bus. */
export function createBodyEraser(pool: Pool): NonNullable<MessageBus['eraseBodies']> {
  const erase = async (ref: MessageRef): Promise<void> => {
    const { partition, offset, index } = parsePlace(ref.place)
    if (!Number.isInteger(partition)) return
    const key = [partition, String(offset), ref.accepted_at.slice(0, 10)]
    await transaction(pool, async (client) => {
      // The row is locked, because another erasure may rewrite the same record of several messages.
      const { rows } = await client.query<{ record: Buffer }>(
        'select record from messages where partition = $1 and "offset" = $2 and day = $3 for update',
        key,
      )
      const record = rows[0] === undefined ? undefined : decodeRecord(rows[0].record)
      const message = messageAt(record, index, ref)
      if (record === undefined || message === null || isErased(message.sealedBody)) return
      const messages = record.messages.map((other) => (other === message ? { ...message, sealedBody: erasedBody } : other))
      await client.query('update messages set record = $4 where partition = $1 and "offset" = $2 and day = $3', [
        ...key,
        encodeRecord({ ...record, messages }),
      ])
    })
  }
  return async (refs) => {
    for (const ref of refs) await erase(ref)
  }
}
