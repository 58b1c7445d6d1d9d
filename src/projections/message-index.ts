import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import type { MessageId, Place, TenantId, WebhookId } from '../events/ids.ts'
import { type MessageRef, messageRefOf } from '../events/refs.ts'
import { messageRefArrays, messageRefColumns, messageRefParameters } from '../lib/ref-columns.ts'
import { separator } from '../lib/sql.ts'
import { type ChangeCursor, liveChangeCursor } from './webhooks.ts'

/** A message that was routed, and the webhooks that it is owed to. */
export interface IndexedMessage extends MessageRef {
  readonly webhooks: readonly WebhookId[]
  /** The checkpoint of the projection `webhooks` that it was matched at. */
  readonly matched_at: Checkpoint
}
export type Rejection = Pick<MessageRef, 'place' | 'fingerprint' | 'accepted_at'>

export interface MessageCursor {
  readonly at: string
  readonly message: MessageId
}
export interface MessageQuery {
  readonly tenant: TenantId
  /** By accepted_at, inclusive. */
  readonly since?: string
  /** By accepted_at, exclusive. */
  readonly until?: string
  readonly event?: string
  /** Whether any webhook matched. */
  readonly matched?: boolean
  readonly after?: MessageCursor
  readonly limit: number
  /** Rows that are looked at. Default 10,000: some 20 ms. */
  readonly scan?: number
}

/** The message index: a source of truth for the retention time, in Postgres whatever the adapters are. */
export interface MessageIndex {
  /** Writes what is new, as one statement; answers for each whether its (tenant, id) was free. */
  claim(messages: readonly IndexedMessage[]): Promise<boolean[]>
  /** The same, if the read model `webhooks` still stands at this cursor when the statement begins; else writes nothing and answers null. */
  claim(messages: readonly IndexedMessage[], matched_at: ChangeCursor): Promise<boolean[] | null>
  /** The rows of these messages, in their order. A statement of its own: that of `claim` may not see a concurrent row. */
  stored(messages: readonly Pick<MessageRef, 'tenant' | 'message'>[]): Promise<(IndexedMessage | null)[]>
  find(tenant: TenantId, message: MessageId): Promise<IndexedMessage | null>
  /**
   * A tenant's messages, newest first: those that the filters take of the next `scan` ones, `limit` at the most. `next` is
   * where to go on, or null at the end: a page may be short, so that no filter, however seldom it matches, reads a month.
   */
  list(query: MessageQuery): Promise<{ messages: IndexedMessage[]; next: MessageCursor | null }>
  /** Other content that was posted under the message's id. */
  rejections(tenant: TenantId, message: MessageId): Promise<Rejection[]>
  /** Ages out what was accepted before the time, in small batches; answers how many rows went. */
  expire(before: string): Promise<number>
}

const fromRow = (row: IndexedMessage): IndexedMessage => ({
  ...messageRefOf(row),
  webhooks: row.webhooks,
  matched_at: row.matched_at,
})
const keyOf = (m: Pick<MessageRef, 'tenant' | 'message'>) => `${m.tenant}/${m.message}`
const columns = `${messageRefColumns}, webhooks, matched_at`
const batch = 1_000
export function createMessageIndex(pool: Pool): MessageIndex {
  const stored: MessageIndex['stored'] = async (messages) => {
    if (messages.length === 0) return []
    const { rows } = await pool.query<IndexedMessage>({
      name: 'message-index-stored',
      text: `select ${columns} from message_index
             join unnest($1::text[], $2::text[]) as wanted (tenant, message) using (tenant, message)`,
      values: [messages.map((m) => m.tenant), messages.map((m) => m.message)],
    })
    const found = new Map(rows.map((row) => [keyOf(row), fromRow(row)]))
    return messages.map((m) => found.get(keyOf(m)) ?? null)
  }
  async function claim(messages: readonly IndexedMessage[]): Promise<boolean[]>
  async function claim(messages: readonly IndexedMessage[], matched_at: ChangeCursor): Promise<boolean[] | null>
  async function claim(messages: readonly IndexedMessage[], matched_at?: ChangeCursor): Promise<boolean[] | null> {
    if (messages.length === 0) return []
    // One order everywhere: statements that touch the same keys in different orders deadlock.
    const sorted = [...messages].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    const { rows } = await pool.query<{ is_current: boolean; places: Place[] }>({
      name: 'message-index-claim',
      text: `with webhooks as materialized (
               select $9::text is null or $9 = (select cursor from (${liveChangeCursor}) as live) as is_current
             ), claimed as (
               insert into message_index (${columns})
               select ${messageRefColumns}, string_to_array(coalesce(webhooks, ''), ','), matched_at
               from unnest(${messageRefParameters(1)}, string_to_array($7, e'\\x1e'), string_to_array($8, e'\\x1e')) as new (${columns})
               where (select is_current from webhooks)
               on conflict (tenant, message) do nothing
               returning place
             )
             select is_current, array(select place from claimed) as places from webhooks`,
      values: [
        ...messageRefArrays(sorted),
        // A single message without webhooks makes an empty text, which splits into no element: hence the `coalesce`.
        sorted.map(({ webhooks }) => webhooks.join(',')).join(separator),
        sorted.map((message) => message.matched_at).join(separator),
        matched_at,
      ],
    })
    const { is_current: isCurrent, places } = rows[0]!
    if (!isCurrent) return null
    const claimed = new Set(places)
    return messages.map((m) => claimed.has(m.place))
  }
  return {
    claim,
    stored,
    find: async (tenant, message) => (await stored([{ tenant, message }]))[0] ?? null,
    async list({ tenant, since, until, event, matched, after, limit, scan = 10_000 }) {
      const filtered = event !== undefined || matched !== undefined
      const looked = filtered ? scan : limit + 1
      // Not named: planned for the values at hand, so that the index serves both bounds of the time.
      const { rows } = await pool.query<IndexedMessage & { taken: boolean; nth: bigint }>(
        `with looked as materialized (
           select ${columns}, row_number() over (order by accepted_at desc, message desc) as nth,
             ($5::text is null or event = $5) and ($6::boolean is null or (cardinality(webhooks) > 0) = $6) as taken
           from message_index
           where tenant = $1
             and ($2::timestamptz is null or accepted_at >= $2)
             and ($3::timestamptz is null or accepted_at < $3)
             and ($4::timestamptz is null or accepted_at <= $4)
             and ($4::timestamptz is null or (accepted_at, message) < ($4, $7::text))
           order by accepted_at desc, message desc limit $8
         )
         (select * from looked where taken order by nth limit $9)
         union (select * from looked where nth = $8)
         order by nth`,
        [tenant, since, until, after?.at, event, matched, after?.message, looked, limit + 1],
      )
      const page = rows.filter((row) => row.taken).slice(0, limit)
      const isFull = rows.filter((row) => row.taken).length > limit
      // Where the page is not full, the last row that was looked at is where to go on, if there is one at the end of the look.
      const last = isFull ? page.at(-1) : filtered ? rows.find((row) => row.nth === BigInt(looked)) : undefined
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
    async expire(before) {
      let gone = 0
      for (const [table, key] of [
        ['message_index', 'tenant, message'],
        ['message_rejections', 'tenant, message, place'],
      ] as const)
        for (;;) {
          const { rowCount } = await pool.query(
            `delete from ${table} where (${key}) in (select ${key} from ${table} where accepted_at < $1 limit ${batch})`,
            [before],
          )
          gone += rowCount ?? 0
          if ((rowCount ?? 0) < batch) break
        }
      return gone
    },
  }
}
