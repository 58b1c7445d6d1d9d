import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import type { MessageId, Place, TenantId, WebhookId } from '../events/ids.ts'
import { type MessageRef, messageRefOf } from '../events/refs.ts'
import { splitTexts, textSeparator } from '../lib/joined-texts.ts'
import { messageRefArrays, messageRefColumns, messageRefParameters } from '../lib/ref-columns.ts'
import { type ChangeCursor, liveChangeCursor } from './webhooks.ts'

/** A message that was routed, and the webhooks that it must be delivered to. */
export interface IndexedMessage extends MessageRef {
  readonly webhooks: readonly WebhookId[]
  /** The checkpoint of the projection `webhooks` at which the message was matched. */
  readonly matched_at: Checkpoint
}
/** A message that was rejected, because another message with the same id and other content came first. */
type Rejection = Pick<MessageRef, 'place' | 'fingerprint' | 'accepted_at'>

export interface MessageCursor {
  readonly at: string
  readonly message: MessageId
}
interface MessageQuery {
  readonly tenant: TenantId
  /** Lowest accepted_at (RFC 3339), inclusive. */
  readonly since?: string
  /** Highest accepted_at (RFC 3339), exclusive. */
  readonly until?: string
  /** The message's event name, compared literally. */
  readonly event?: string
  /** True: only messages that matched a webhook. False: only messages that matched none. */
  readonly matched?: boolean
  readonly after?: MessageCursor
  readonly limit: number
  /** The most rows that one call reads. Default 10,000, which takes about 20 ms. */
  readonly scan?: number
}

/** The message index is a source of truth for the retention time. It is in Postgres with every combination of adapters. */
export interface MessageIndex {
  /** Inserts the messages whose (tenant, id) is not in the index, in one statement. Returns for each message whether it was inserted. */
  insertNew(messages: readonly IndexedMessage[]): Promise<boolean[]>
  /** Does the same, but only if the read model `webhooks` is still at this cursor when the statement begins. Otherwise returns null. */
  insertNew(messages: readonly IndexedMessage[], matched_at: ChangeCursor): Promise<boolean[] | null>
  /**
   * Returns the rows of these messages, in the order of the messages. This is a separate statement, because the statement of `insertNew` may
   * not see a row that another process inserts at the same time.
   */
  stored(messages: readonly Pick<MessageRef, 'tenant' | 'message'>[]): Promise<(IndexedMessage | null)[]>
  find(tenant: TenantId, message: MessageId): Promise<IndexedMessage | null>
  /**
   * Returns messages of a tenant, newest first. With a filter, the call reads the next `scan` rows and returns at most `limit` rows that pass. So a
   * page may be short or empty, because a filter that seldom matches must not read a month of messages. `next` is the cursor of the next page, or
   * null at the end.
   */
  list(query: MessageQuery): Promise<{ messages: IndexedMessage[]; next: MessageCursor | null }>
  /** Returns the first 100 rejections of the message. */
  rejections(tenant: TenantId, message: MessageId): Promise<Rejection[]>
  /** Returns which of the messages have a rejection, because other content was posted under their ids. */
  withRejections(tenant: TenantId, messages: readonly MessageId[]): Promise<Set<MessageId>>
  /** Deletes the messages that were accepted before the time, in small batches. Returns the number of deleted rows. */
  expire(before: string): Promise<number>
}

const fromRow = (row: IndexedMessage): IndexedMessage => ({
  ...messageRefOf(row),
  webhooks: row.webhooks,
  matched_at: row.matched_at,
})
const keyOf = (m: Pick<MessageRef, 'tenant' | 'message'>) => `${m.tenant}/${m.message}`
const columns = `${messageRefColumns}, webhooks, matched_at`
const batchSize = 1_000

export function createMessageIndex(pool: Pool): MessageIndex {
  const stored: MessageIndex['stored'] = async (messages) => {
    if (messages.length === 0) return []
    const { rows } = await pool.query<IndexedMessage>({
      name: 'message-index-stored',
      text: `select ${columns} from message_index
             join unnest($1::text[], $2::text[]) as key (tenant, message) using (tenant, message)`,
      values: [messages.map((m) => m.tenant), messages.map((m) => m.message)],
    })
    const byKey = new Map(rows.map((row) => [keyOf(row), fromRow(row)]))
    return messages.map((m) => byKey.get(keyOf(m)) ?? null)
  }
  async function insertNew(messages: readonly IndexedMessage[]): Promise<boolean[]>
  async function insertNew(messages: readonly IndexedMessage[], matched_at: ChangeCursor): Promise<boolean[] | null>
  async function insertNew(messages: readonly IndexedMessage[], matched_at?: ChangeCursor): Promise<boolean[] | null> {
    if (messages.length === 0) return []
    // All writers sort in the same way, because statements that touch the same keys in different orders deadlock.
    const sorted = [...messages].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    const { rows } = await pool.query<{ is_current: boolean; places: Place[] }>({
      name: 'message-index-insert',
      text: `with webhooks as materialized (
               select $9::text is null or $9 = (select cursor from (${liveChangeCursor}) as live) as is_current
             ), inserted as (
               insert into message_index (${columns})
               select ${messageRefColumns}, string_to_array(coalesce(webhooks, ''), ','), matched_at
               from unnest(${messageRefParameters(1)}, ${splitTexts(7)}, ${splitTexts(8)}) as new (${columns})
               where (select is_current from webhooks)
               on conflict (tenant, message) do nothing
               returning place
             )
             select is_current, array(select place from inserted) as places from webhooks`,
      values: [
        ...messageRefArrays(sorted),
        // A single message without webhooks makes an empty text. An empty text splits into no element, so the statement uses `coalesce`.
        sorted.map(({ webhooks }) => webhooks.join(',')).join(textSeparator),
        sorted.map((message) => message.matched_at).join(textSeparator),
        matched_at,
      ],
    })
    const { is_current: isCurrent, places } = rows[0]!
    if (!isCurrent) return null
    const inserted = new Set(places)
    return messages.map((m) => inserted.has(m.place))
  }
  return {
    insertNew,
    stored,
    find: async (tenant, message) => (await stored([{ tenant, message }]))[0] ?? null,
    async list({ tenant, since, until, event, matched, after, limit, scan = 10_000 }) {
      const isFiltered = event !== undefined || matched !== undefined
      const rowsToRead = isFiltered ? scan : limit + 1
      // The statement has no name, so that Postgres plans it for these values and the index serves both bounds of the time.
      const { rows } = await pool.query<IndexedMessage & { passes: boolean; nth: bigint }>(
        `with read_rows as materialized (
           select ${columns}, row_number() over (order by accepted_at desc, message desc) as nth,
             ($5::text is null or event = $5) and ($6::boolean is null or (cardinality(webhooks) > 0) = $6) as passes
           from message_index
           where tenant = $1
             and ($2::timestamptz is null or accepted_at >= $2)
             and ($3::timestamptz is null or accepted_at < $3)
             and ($4::timestamptz is null or accepted_at <= $4)
             and ($4::timestamptz is null or (accepted_at, message) < ($4, $7::text))
           order by accepted_at desc, message desc limit $8
         )
         (select * from read_rows where passes order by nth limit $9)
         union (select * from read_rows where nth = $8)
         order by nth`,
        [tenant, since, until, after?.at, event, matched, after?.message, rowsToRead, limit + 1],
      )
      const matches = rows.filter((row) => row.passes)
      const page = matches.slice(0, limit)
      const isFull = matches.length > limit
      // When the page is not full, the next page begins after the last row that was read. There is no next page if fewer rows than `scan` were left.
      const last = isFull ? page.at(-1) : isFiltered ? rows.find((row) => row.nth === BigInt(rowsToRead)) : undefined
      return { messages: page.map(fromRow), next: last === undefined ? null : { at: last.accepted_at, message: last.message } }
    },
    async rejections(tenant, message) {
      const { rows } = await pool.query<Rejection>({
        name: 'message-index-rejections',
        text: `select place, fingerprint, accepted_at from message_rejections
               where tenant = $1 and message = $2 order by accepted_at, place limit 100`,
        values: [tenant, message],
      })
      return rows.map((row) => ({ place: row.place, fingerprint: row.fingerprint, accepted_at: row.accepted_at }))
    },
    async withRejections(tenant, messages) {
      if (messages.length === 0) return new Set()
      const { rows } = await pool.query<{ message: MessageId }>({
        name: 'message-index-with-rejections',
        text: `select message from unnest($2::text[]) as page (message)
               where exists (select from message_rejections r where r.tenant = $1 and r.message = page.message)`,
        values: [tenant, messages],
      })
      return new Set(rows.map(({ message }) => message))
    },
    expire: (before) => expire(pool, before),
  }
}

async function expire(pool: Pool, before: string): Promise<number> {
  let deleted = 0
  for (const [table, key] of [
    ['message_index', 'tenant, message'],
    ['message_rejections', 'tenant, message, place'],
  ] as const)
    for (;;) {
      const { rowCount } = await pool.query(
        `delete from ${table} where (${key}) in (select ${key} from ${table} where accepted_at < $1 limit ${batchSize})`,
        [before],
      )
      deleted += rowCount ?? 0
      if ((rowCount ?? 0) < batchSize) break
    }
  return deleted
}
