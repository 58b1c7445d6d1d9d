import type { KeyObject } from 'node:crypto'
import type { Checkpoint } from '../events/envelope.ts'
import type { TenantId, WebhookId } from '../events/ids.ts'
import { webhookFields } from '../events/webhook.ts'
import { DataKeyFault, type Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { SealBroken } from '../lib/seal.ts'
import { signingKey } from '../lib/sign.ts'
import { openRow } from '../projections/columns.ts'
import type { ChangeCursor, ChangedWebhook, WebhookChanges } from '../projections/webhooks.ts'
import { createPatternIndex, type PatternIndex } from './pattern-index.ts'

/** A webhook with opened values, as the last refresh read it. */
export interface CachedWebhook extends Omit<ChangedWebhook, SecretField | 'is_active' | 'is_deleted'> {
  readonly state: 'active' | 'inactive' | 'deleted'
  /** The origin of the callback URL, for logs, because a path can be a credential. */
  readonly urlOrigin: string
  /** Returns one key for each secret that is valid at `now` (milliseconds since 1970). */
  signingKeys(now: number): KeyObject[]
}
type SecretField = 'secret' | 'previous_secret' | 'previous_secret_until'

/** A dispatcher's copy of the read model `webhooks` in memory. A refresh reads only what has changed. */
export interface WebhookCache {
  /** Reads what has changed since the last refresh. The read starts after the call, so a call during a refresh waits for the next refresh. */
  refresh(): Promise<void>
  /** Refreshes if the last refresh is older than a second. */
  refreshIfOld(): Promise<void>
  /** The cursor of the read model at the last refresh, or null before the first one. */
  readonly cursor: ChangeCursor | null
  /** The checkpoint of the read model at the last refresh, or null before the first one. */
  readonly checkpoint: Checkpoint | null
  /** Whether the read model lacked an acknowledged change at the last refresh. */
  readonly isBehind: boolean
  /** Notes that a query found the read model still at the cursor. @param at the time of that query, by `performance.now()` */
  confirm(cursor: ChangeCursor, at: number): void
  /** Returns the active webhooks of the tenant whose patterns match the event name. */
  match(tenant: TenantId, event: string): WebhookId[]
  get(id: WebhookId): CachedWebhook | undefined
  isSuspended(tenant: TenantId): boolean
}

const maxAgeMs = 1_000

export function createWebhookCache(deps: {
  changes(since: ChangeCursor | null): Promise<WebhookChanges>
  keyring: Keyring
  log: Log
}): WebhookCache {
  const { changes, keyring, log } = deps
  const webhooks = new Map<WebhookId, CachedWebhook>()
  const patterns = new Map<TenantId, PatternIndex<WebhookId>>()
  const suspended = new Set<TenantId>()
  let checkpoint: Checkpoint | null = null
  let cursor: ChangeCursor | null = null
  let isBehind = false
  let refreshedAt = Number.NEGATIVE_INFINITY

  const patternsOf = (tenant: TenantId): PatternIndex<WebhookId> => {
    const existing = patterns.get(tenant)
    if (existing !== undefined) return existing
    const created = createPatternIndex<WebhookId>()
    patterns.set(tenant, created)
    return created
  }
  const put = (webhook: CachedWebhook) => {
    const former = webhooks.get(webhook.id)
    if (former !== undefined && former.revision > webhook.revision) return
    remove(webhook.id)
    if (webhook.state === 'active') patternsOf(webhook.tenant).add(webhook.event, webhook.id)
    webhooks.set(webhook.id, webhook)
  }
  const remove = (id: WebhookId) => {
    const webhook = webhooks.get(id)
    if (webhook?.state === 'active') patternsOf(webhook.tenant).remove(webhook.event, id)
    webhooks.delete(id)
  }
  /**
   * Opens a webhook. Returns null if it cannot be opened. The webhook then becomes unknown, and messages of other tenants are still
   * delivered.
   */
  const openOrNull = async (row: ChangedWebhook): Promise<CachedWebhook | null> => {
    try {
      return await openWebhook(keyring, row)
    } catch (error) {
      if (!(error instanceof SealBroken || error instanceof DataKeyFault)) throw error
      log.error({ error, webhook: row.id, tenant: row.tenant }, 'webhook.unreadable')
      return null
    }
  }
  const readChanges = async () => {
    const startedAt = performance.now()
    const changed = await changes(cursor) // mutation: read-once
    const openedWebhooks = await Promise.all(changed.webhooks.map(openOrNull))
    openedWebhooks.forEach((webhook, i) => {
      if (webhook === null) remove(changed.webhooks[i]!.id)
      else put(webhook)
    })
    for (const { tenant, is_suspended } of changed.tenants)
      if (is_suspended) suspended.add(tenant)
      else suspended.delete(tenant)
    checkpoint = changed.checkpoint
    cursor = changed.cursor
    isBehind = changed.is_behind
    refreshedAt = startedAt
  }
  const refresh = createSerialRefresh(readChanges)
  return {
    refresh,
    refreshIfOld: async () => {
      if (performance.now() - refreshedAt > maxAgeMs) await refresh()
    },
    get cursor() {
      return cursor
    },
    get checkpoint() {
      return checkpoint
    },
    get isBehind() {
      return isBehind
    },
    confirm(seen, at) {
      if (seen === cursor) refreshedAt = Math.max(refreshedAt, at)
    },
    match: (tenant, event) => patterns.get(tenant)?.match(event) ?? [],
    get: (id) => webhooks.get(id),
    isSuspended: (tenant) => suspended.has(tenant),
  }
}

async function openWebhook(keyring: Keyring, row: ChangedWebhook): Promise<CachedWebhook> {
  const vault = await keyring.vault(row.tenant)
  const opened = openRow(vault, webhookFields, row)
  const { secret, previous_secret, previous_secret_until, is_active, is_deleted, ...webhook } = opened
  if (vault.isErased) return { ...webhook, state: 'deleted', urlOrigin: 'erased', signingKeys: () => [] }
  const key = signingKey(secret)
  const previousKey = previous_secret === null ? null : signingKey(previous_secret)
  const previousUntil = previous_secret_until === null ? 0 : Date.parse(previous_secret_until)
  return {
    ...webhook,
    state: is_deleted ? 'deleted' : is_active ? 'active' : 'inactive',
    urlOrigin: URL.canParse(webhook.callback_url) ? new URL(webhook.callback_url).origin : 'invalid',
    signingKeys: (now) => (previousKey !== null && now < previousUntil ? [key, previousKey] : [key]),
  }
}

/** Returns a function that runs `work`, never twice at a time. Each call waits for a run that starts after the call. Waiting calls share one run. */
function createSerialRefresh(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    const run = work().finally(() => {
      if (running === run) running = undefined
    })
    running = run
    return run
  }
  return () => {
    if (next !== undefined) return next
    if (running === undefined) return start()
    next = running
      .catch(() => undefined) // The callers of that run receive its error.
      .then(() => {
        next = undefined
        return start()
      })
    return next
  }
}
