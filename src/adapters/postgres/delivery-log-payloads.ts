import type { Pool } from 'pg'
import { decodeRecord, type MessageRecord, parsePlace } from '../../events/message-record.ts'
import type { MessageRef } from '../../events/refs.ts'
import type { Log } from '../../lib/log.ts'
import type { PayloadArchive } from '../../ports/delivery-log.ts'
import { type DayPartitions, isMissingPartition } from './day-partitions.ts'

type Archived = MessageRef & { readonly payload: Buffer }

const dayOf = (key: MessageRef): string => key.accepted_at.slice(0, 10)
/** One statement writes at most so much. */
const group = { rows: 500, bytes: 4 << 20 }

/** The archive that the rows of the Postgres bus are: nothing is written twice, and both age together. */
export function busPayloads(pool: Pool, log: Log): PayloadArchive {
  /** The records at these places, each once: a batch of messages shares one. */
  const recordsAt = async (keys: readonly MessageRef[]): Promise<Map<string, MessageRecord>> => {
    const places = new Map<string, { partition: number; offset: bigint; day: string }>()
    for (const key of keys) {
      const { partition, offset } = parsePlace(key.place)
      if (Number.isInteger(partition)) places.set(`${partition}/${offset}`, { partition, offset, day: dayOf(key) })
    }
    const wanted = [...places.values()]
    const { rows } = await pool.query<{ partition: number; offset: bigint; record: Buffer }>(
      // Lateral with a limit: one index probe each, which no plan can turn into a join that reads whole days.
      `select k.partition, k."offset", m.record
       from unnest($1::integer[], $2::bigint[], $3::date[]) as k (partition, "offset", day)
       cross join lateral (
         select record from messages where partition = k.partition and "offset" = k."offset" and day = k.day limit 1
       ) as m`,
      [
        `{${wanted.map((place) => place.partition).join(',')}}`,
        `{${wanted.map((place) => place.offset).join(',')}}`,
        `{${wanted.map((place) => place.day).join(',')}}`,
      ],
    )
    const records = new Map<string, MessageRecord>()
    for (const { partition, offset, record } of rows)
      try {
        records.set(`${partition}/${offset}`, decodeRecord(record))
      } catch (error) {
        // Its other messages, and those of other records, are found all the same; this one counts as gone.
        log.error({ error, partition, offset: String(offset) }, 'delivery_log.payload_unreadable')
      }
    return records
  }
  return {
    async archive() {},
    async payloads(keys) {
      if (keys.length === 0) return []
      const records = await recordsAt(keys)
      return keys.map((key) => {
        const { partition, offset, index } = parsePlace(key.place)
        const message = records.get(`${partition}/${offset}`)?.messages[index]
        // The place may be another bus's: then it is other content that stands here.
        if (message === undefined || message.id !== key.message || message.fingerprint !== key.fingerprint) return null
        return Buffer.from(message.payload) // a copy: a view would hold the whole record in memory
      })
    },
  }
}

/** An archive of its own, for a bus whose records cannot be read again by their place. */
export function ownPayloads(pool: Pool, days: DayPartitions): PayloadArchive {
  const insert = async (payloads: readonly Archived[], isRetry = false): Promise<void> => {
    await days.ensure(payloads.map(dayOf))
    const starts: number[] = []
    let end = 1
    for (const { payload } of payloads) {
      starts.push(end)
      end += payload.length
    }
    try {
      await pool.query({
        name: 'sealed-bodies-archive',
        text: `insert into sealed_bodies (day, tenant, message, fingerprint, sealed_body)
               select day, tenant, message, fingerprint, substring($7::bytea from start for size)
               from unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::integer[])
                 as p (day, tenant, message, fingerprint, start, size)
               on conflict do nothing`,
        values: [
          payloads.map(dayOf),
          payloads.map((key) => key.tenant),
          payloads.map((key) => key.message),
          payloads.map((key) => key.fingerprint),
          `{${starts.join(',')}}`,
          `{${payloads.map(({ payload }) => payload.length).join(',')}}`,
          Buffer.concat(payloads.map(({ payload }) => payload)),
        ],
      })
    } catch (error) {
      if (isRetry || !isMissingPartition(error)) throw error
      days.forget()
      await insert(payloads, true)
    }
  }
  return {
    async archive(payloads) {
      // In the order of keys: two writers that touch keys in different orders would deadlock.
      const sorted = payloads
        .map((payload) => ({ payload, key: `${payload.tenant} ${payload.message} ${payload.fingerprint} ${dayOf(payload)}` }))
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .map(({ payload }) => payload)
      for (const some of groups(sorted)) await insert(some)
    },
    async payloads(keys) {
      if (keys.length === 0) return []
      const { rows } = await pool.query<{ sealed_body: Buffer | null }>(
        `select b.sealed_body
         from unnest($1::date[], $2::text[], $3::text[], $4::text[]) with ordinality as k (day, tenant, message, fingerprint, place)
         left join lateral (
           select sealed_body from sealed_bodies where tenant = k.tenant and message = k.message and fingerprint = k.fingerprint and day = k.day limit 1
         ) as b on true
         order by k.place`,
        [keys.map(dayOf), keys.map((key) => key.tenant), keys.map((key) => key.message), keys.map((key) => key.fingerprint)],
      )
      return rows.map((row) => row.sealed_body)
    },
  }
}

function* groups(payloads: readonly Archived[]): Generator<Archived[]> {
  let next: Archived[] = []
  let bytes = 0
  for (const payload of payloads) {
    next.push(payload)
    bytes += payload.payload.length
    if (next.length < group.rows && bytes < group.bytes) continue
    yield next
    next = []
    bytes = 0
  }
  if (next.length > 0) yield next
}
