import type { Pool } from 'pg'
import type { KeyId, WebhookId } from '../../events/ids.ts'
import { sqlOn } from '../../lib/sql.ts'
import type { LiveItem } from './items.ts'

/** The most webhooks whose keys are remembered. */
const maxRemembered = 50_000

/** Remembers which key created a webhook, which never changes. */
export interface WebhookOwners {
  /** Reads the keys of the webhooks of these items, except those that are remembered. */
  read(items: readonly LiveItem[]): Promise<void>
  /** Returns the key that created a webhook, if `read` has read it. Returns null for a webhook without a key. */
  keyOf(webhook: WebhookId): KeyId | null
}
export function createWebhookOwners(pool: Pool): WebhookOwners {
  const keys = new Map<WebhookId, KeyId | null>()
  return {
    async read(items) {
      if (keys.size > maxRemembered) keys.clear()
      const unknown = new Set(items.flatMap(({ webhook }) => (webhook === null || keys.has(webhook) ? [] : [webhook])))
      if (unknown.size === 0) return
      const rows = await sqlOn(pool)<{ id: WebhookId; key_id: KeyId | null }>`
        select id, key_id from webhook_subscriptions where id = any (${[...unknown]}::text[])`
      for (const { id, key_id } of rows) keys.set(id, key_id)
    },
    keyOf: (webhook) => keys.get(webhook) ?? null,
  }
}
