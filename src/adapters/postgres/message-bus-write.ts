import type { Pool } from 'pg'
import type { MessageRecord } from '../../events/message-record.ts'
import { step } from '../../events/steps.ts'
import { isDataError } from '../../lib/group-commit.ts'
import { splitTexts, textSeparator } from '../../lib/joined-texts.ts'
import type { IndexEntry, Match } from '../../ports/message-bus.ts'
import { type DayPartitions, isMissingPartition } from './day-partitions.ts'

export interface RecordToWrite {
  readonly day: string
  readonly bytes: Buffer
  readonly record: MessageRecord
}
export interface WrittenRecords {
  /** The offset of the first record. The others follow it. */
  readonly first: bigint
  /** For each record the entries of its messages, or null if no message was written to the index. */
  readonly entries: readonly (readonly (IndexEntry | null)[])[] | null
  /** Whether the statement found the read model of webhooks at the cursor of the match. */
  readonly isCurrent: boolean
}
/** Writes records to a partition with one statement and one commit. With a match, it also writes their messages to the message index. */
export type WriteRecords = (partition: number, records: readonly RecordToWrite[], match: Match | null) => Promise<WrittenRecords>

export function createRecordWriter({ pool, identity, days }: { pool: Pool; identity: string; days: DayPartitions }): WriteRecords {
  const write: WriteRecords = async (partition, records, match) => {
    if (match === null) return { first: await insert(pool, partition, records), entries: null, isCurrent: false }
    return step('produce.index', () => insertWithIndex(pool, `${identity}/${partition}/`, partition, records, match))
  }
  return async (partition, records, match) => {
    await days.ensure(records.map(({ day }) => day))
    try {
      return await write(partition, records, match)
    } catch (error) {
      if (isMissingPartition(error)) days.forget()
      // The index may refuse a message that the bus would take. Its record is then stored alone, and its consumer quarantines the message.
      else if (match === null || !isDataError(error)) throw error
      await days.ensure(records.map(({ day }) => day))
      return write(partition, records, null)
    }
  }
}

/** The parameters of `produce_messages`. */
function recordParameters(partition: number, records: readonly RecordToWrite[]): unknown[] {
  const starts: number[] = []
  let end = 1
  for (const { bytes } of records) {
    starts.push(end)
    end += bytes.length
  }
  return [
    partition,
    `{${records.map(({ day }) => day).join(',')}}`,
    `{${starts.join(',')}}`,
    `{${records.map(({ bytes }) => bytes.length).join(',')}}`,
    Buffer.concat(records.map(({ bytes }) => bytes)),
  ]
}

/** Inserts records. Returns the offset of the first record. */
async function insert(pool: Pool, partition: number, records: readonly RecordToWrite[]): Promise<bigint> {
  const { rows } = await pool.query<{ first: bigint }>({
    name: 'messages-produce',
    text: 'select produce_messages($1, $2, $3, $4, $5) as first',
    values: recordParameters(partition, records),
  })
  return rows[0]!.first
}

/** A message of a record, with the webhooks that it was matched with. */
interface MatchedMessage {
  /** The tenant and the id. All writers of the index sort by them. */
  readonly key: string
  /** The number of the record in this statement, from 0. */
  readonly nth: number
  /** The number of the message in its record, from 0. */
  readonly index: number
  /** The values of the index columns that are texts. */
  readonly texts: readonly string[]
  readonly accepted_at: string
}

/** Inserts records, and writes their messages to the index if the read model of webhooks is still at the cursor of the match. */
async function insertWithIndex(
  pool: Pool,
  placePrefix: string,
  partition: number,
  records: readonly RecordToWrite[],
  match: Match,
): Promise<WrittenRecords> {
  const messages = records.flatMap(({ record: { tenant, accepted_at, messages } }, nth) =>
    messages.map(({ id, fingerprint, event }, index): MatchedMessage => {
      const webhooks = match.webhooks[nth]![index]!.join(',')
      return { key: `${tenant}/${id}`, nth, index, texts: [tenant, id, fingerprint, event, webhooks], accepted_at }
    }),
  )
  // Statements that touch the same keys in different orders deadlock. If two messages have one id, the first one gets the entry.
  messages.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.nth - b.nth || a.index - b.index))
  const { rows } = await pool.query<{ first: bigint; is_current: boolean; places: string[] }>({
    name: 'messages-produce-indexed',
    text: insertWithIndexText,
    values: [
      ...recordParameters(partition, records),
      ...[0, 1, 2, 3, 4].map((text) => messages.map(({ texts }) => texts[text]).join(textSeparator)),
      `{${messages.map(({ accepted_at }) => accepted_at).join(',')}}`,
      `{${messages.map(({ nth }) => nth).join(',')}}`,
      `{${messages.map(({ index }) => index).join(',')}}`,
      match.matched_at,
      match.cursor,
      placePrefix,
    ],
  })
  const { first, is_current: isCurrent, places } = rows[0]!
  const written = new Set(places)
  const entryOf = (nth: number, index: number): IndexEntry | null =>
    written.has(`${placePrefix}${first + BigInt(nth)}/${index}`)
      ? { webhooks: match.webhooks[nth]![index]!, matched_at: match.matched_at }
      : null
  const entries = isCurrent ? records.map(({ record }, nth) => record.messages.map((_, index) => entryOf(nth, index))) : null
  return { first, entries, isCurrent }
}

/**
 * Inserts records and their index entries. A message that matches no webhook has an empty text of webhooks. If it is the only message, that text
 * splits into no element, and `coalesce` turns the missing element back into an empty text.
 */
const insertWithIndexText = `
  with produced as materialized (
    select produce_messages($1, $2, $3, $4, $5) as first
  ), webhooks as materialized (
    select $15 = (select cursor from webhooks_cursor) as is_current
  ), indexed as (
    insert into message_index (tenant, message, fingerprint, place, event, accepted_at, webhooks, matched_at)
    select tenant, message, fingerprint, $16::text || (first + nth) || '/' || index, event, accepted_at,
      string_to_array(coalesce(webhooks, ''), ','), $14::text
    from produced,
      unnest(${[6, 7, 8, 9, 10].map(splitTexts).join(', ')}, $11::timestamptz[], $12::integer[], $13::integer[])
        as new (tenant, message, fingerprint, event, webhooks, accepted_at, nth, index)
    where (select is_current from webhooks)
    on conflict (tenant, message) do nothing
    returning place
  )
  select first, (select is_current from webhooks) as is_current, array(select place from indexed) as places from produced`
