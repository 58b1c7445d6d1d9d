import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import type { MessageId, Place, TenantId, WebhookId } from '../events/ids.ts'

/** Which message has which content and place, and whom it is owed to. */
export interface IndexedMessage {
  readonly tenant: TenantId
  readonly message: MessageId
  readonly fingerprint: string
  readonly place: Place
  readonly event: string
  readonly acceptedAt: string
  readonly webhooks: readonly WebhookId[]
  /** The checkpoint of `webhooks` that it was matched at. */
  readonly matchedAt: Checkpoint
}
export interface Rejection {
  readonly place: Place
  readonly fingerprint: string
  readonly acceptedAt: string
}

/** The message index: a source of truth for the retention time, in Postgres whatever the adapters are. */
export interface MessageIndex {
  /** Writes what is new, as one statement; answers for each whether its (tenant, id) was free. */
  claim(messages: readonly IndexedMessage[]): Promise<boolean[]>
  /** The rows of these messages, in their order. A statement of its own: that of `claim` may not see a concurrent row. */
  stored(messages: readonly { tenant: TenantId; message: MessageId }[]): Promise<(IndexedMessage | null)[]>
  find(tenant: TenantId, message: MessageId): Promise<IndexedMessage | null>
  /** Other content that was posted under the message's id. */
  rejections(tenant: TenantId, message: MessageId): Promise<Rejection[]>
  /** Ages out what was accepted before the time, in small batches; answers how many rows went. */
  expire(before: string): Promise<number>
}

interface Row {
  tenant: TenantId
  message: MessageId
  fingerprint: string
  place: Place
  event: string
  accepted_at: string
  webhooks: WebhookId[]
  matched_at: Checkpoint
}
const fromRow = (row: Row): IndexedMessage => ({
  tenant: row.tenant,
  message: row.message,
  fingerprint: row.fingerprint,
  place: row.place,
  event: row.event,
  acceptedAt: row.accepted_at,
  webhooks: row.webhooks,
  matchedAt: row.matched_at,
})
const keyOf = (m: { tenant: string; message: string }) => `${m.tenant}/${m.message}`
const columns = 'tenant, message, fingerprint, place, event, accepted_at, webhooks, matched_at'
const batch = 1_000

export function messageIndex(pool: Pool): MessageIndex {
  const stored: MessageIndex['stored'] = async (messages) => {
    if (messages.length === 0) return []
    const { rows } = await pool.query<Row>({
      name: 'message-index-stored',
      text: `select ${columns} from message_index
             join unnest($1::text[], $2::text[]) as wanted (tenant, message) using (tenant, message)`,
      values: [messages.map((m) => m.tenant), messages.map((m) => m.message)],
    })
    const found = new Map(rows.map((row) => [keyOf(row), fromRow(row)]))
    return messages.map((m) => found.get(keyOf(m)) ?? null)
  }
  return {
    async claim(messages) {
      if (messages.length === 0) return []
      // One order everywhere: statements that touch the same keys in different orders deadlock.
      const order = messages.map((_, i) => i).sort((a, b) => (keyOf(messages[a]!) < keyOf(messages[b]!) ? -1 : 1))
      const column = (of: (m: IndexedMessage) => string) => order.map((i) => of(messages[i]!))
      const { rows } = await pool.query<{ place: Place }>({
        name: 'message-index-claim',
        text: `insert into message_index (${columns})
               select tenant, message, fingerprint, place, event, accepted_at, string_to_array(webhooks, ','), matched_at
               from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
                 as new (tenant, message, fingerprint, place, event, accepted_at, webhooks, matched_at)
               on conflict (tenant, message) do nothing
               returning place`,
        values: [
          column((m) => m.tenant),
          column((m) => m.message),
          column((m) => m.fingerprint),
          column((m) => m.place),
          column((m) => m.event),
          column((m) => m.acceptedAt),
          column((m) => m.webhooks.join(',')),
          column((m) => m.matchedAt),
        ],
      })
      const claimed = new Set(rows.map((row) => row.place))
      return messages.map((m) => claimed.has(m.place))
    },
    stored,
    find: async (tenant, message) => (await stored([{ tenant, message }]))[0] ?? null,
    async rejections(tenant, message) {
      const { rows } = await pool.query<{ place: Place; fingerprint: string; accepted_at: string }>({
        name: 'message-index-rejections',
        text: `select place, fingerprint, accepted_at from message_rejections
               where tenant = $1 and message = $2 order by accepted_at, place limit 100`,
        values: [tenant, message],
      })
      return rows.map((row) => ({ place: row.place, fingerprint: row.fingerprint, acceptedAt: row.accepted_at }))
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
