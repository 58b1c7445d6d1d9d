import type { KeyObject } from 'node:crypto'
import type { Checkpoint } from '../events/envelope.ts'
import type { TenantId, WebhookId } from '../events/ids.ts'
import { fieldAad } from '../events/sealed-fields.ts'
import { KeyDestroyed, type Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { SealBroken } from '../lib/seal.ts'
import type { ChangeCursor, ChangedWebhook, WebhookChanges } from '../projections/webhooks.ts'
import { createPatternIndex, type PatternIndex } from './pattern-index.ts'
import { signingKey } from './sign.ts'

/** A webhook as the dispatcher sees it: a copy at most a second old. */
export interface Target {
  readonly id: WebhookId
  readonly tenant: TenantId
  readonly revision: number
  readonly state: 'active' | 'inactive' | 'deleted'
  readonly pattern: string
  readonly callback_url: string
  /** The origin alone, for logs: a path can be a credential. */
  readonly origin: string
  readonly retry_delays: readonly number[] | null
  /** One key for each secret that is live at the time (milliseconds). */
  signingKeys(now: number): KeyObject[]
}

/** The dispatcher's copy of the read model `webhooks`: what changed since the last look is asked for. */
export interface WebhookCache {
  /** Asks what has changed since the last look; whoever calls it while another look is under way gets the next one. */
  refresh(): Promise<void>
  /** Refreshes when the copy is older than a second. */
  freshen(): Promise<void>
  /** Where the read model stood when the copy was taken; null before the first look. */
  readonly cursor: ChangeCursor | null
  /** The checkpoint of the read model that the copy was taken at; null before the first look. */
  readonly checkpoint: Checkpoint | null
  /** Somebody else has seen that the read model still stood at the cursor. @param askedAt when they asked, by `performance.now()` */
  confirm(cursor: ChangeCursor, askedAt: number): void
  match(tenant: TenantId, event: string): WebhookId[]
  get(id: WebhookId): Target | undefined
  isSuspended(tenant: TenantId): boolean
}

const maxAgeMs = 1_000

export function createWebhookCache(deps: {
  changes(since: ChangeCursor | null): Promise<WebhookChanges>
  keyring: Keyring
  log: Log
}): WebhookCache {
  const { changes, keyring, log } = deps
  const targets = new Map<WebhookId, Target>()
  const patterns = new Map<TenantId, PatternIndex<WebhookId>>()
  const suspended = new Set<TenantId>()
  let checkpoint: Checkpoint | null = null
  let cursor: ChangeCursor | null = null
  let takenAt = Number.NEGATIVE_INFINITY
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined

  const patternsOf = (tenant: TenantId): PatternIndex<WebhookId> => {
    const known = patterns.get(tenant)
    if (known !== undefined) return known
    const fresh = createPatternIndex<WebhookId>()
    patterns.set(tenant, fresh)
    return fresh
  }
  const put = (target: Target) => {
    const former = targets.get(target.id)
    if (former !== undefined && former.revision > target.revision) return
    if (former?.state === 'active') patternsOf(former.tenant).remove(former.pattern, former.id)
    if (target.state === 'active') patternsOf(target.tenant).add(target.pattern, target.id)
    targets.set(target.id, target)
  }
  const open = async (row: ChangedWebhook): Promise<Target> => {
    const vault = await keyring.vault(row.tenant)
    const opened = (field: string, value: string) => vault.openText(fieldAad(row.tenant, row.id, field), value)
    const callback_url = opened('callback_url', row.callback_url)
    const key = signingKey(opened('secret', row.secret))
    const former = row.previous_secret === null ? null : signingKey(opened('secret', row.previous_secret))
    const formerUntil = row.previous_until === null ? 0 : Date.parse(row.previous_until)
    return {
      id: row.id,
      tenant: row.tenant,
      revision: row.revision,
      state: row.is_deleted ? 'deleted' : row.is_active ? 'active' : 'inactive',
      pattern: row.event,
      callback_url,
      origin: URL.canParse(callback_url) ? new URL(callback_url).origin : 'invalid',
      retry_delays: row.retry_delays,
      signingKeys: (now) => (former !== null && now < formerUntil ? [key, former] : [key]),
    }
  }
  /** One tenant's erased key must not stop everybody's messages: its webhooks are as good as unknown. */
  const openOrLeaveOut = async (row: ChangedWebhook): Promise<Target | null> => {
    try {
      return await open(row)
    } catch (error) {
      if (!(error instanceof SealBroken || error instanceof KeyDestroyed)) throw error
      log.error({ error, webhook: row.id, tenant: row.tenant }, 'webhook.unreadable')
      const former = targets.get(row.id)
      if (former?.state === 'active') patternsOf(former.tenant).remove(former.pattern, former.id)
      targets.delete(row.id)
      return null
    }
  }
  const look = async () => {
    const asked = performance.now()
    const found = await changes(cursor)
    const opened = await Promise.all(found.webhooks.map(openOrLeaveOut))
    for (const target of opened) if (target !== null) put(target)
    for (const { tenant, is_suspended } of found.tenants)
      if (is_suspended) suspended.add(tenant)
      else suspended.delete(tenant)
    checkpoint = found.checkpoint
    cursor = found.cursor
    takenAt = asked
  }
  const start = (): Promise<void> => {
    const looking = look().finally(() => {
      if (running === looking) running = undefined
    })
    running = looking
    return looking
  }
  const refresh = (): Promise<void> => {
    if (next !== undefined) return next
    if (running === undefined) return start()
    // The look under way may have begun before the caller's batch was fetched.
    next = running
      .catch(() => undefined) // its own caller is told
      .then(() => {
        next = undefined
        return start()
      })
    return next
  }
  return {
    refresh,
    freshen: async () => {
      if (performance.now() - takenAt > maxAgeMs) await refresh()
    },
    get cursor() {
      return cursor
    },
    get checkpoint() {
      return checkpoint
    },
    confirm(seen, askedAt) {
      if (seen === cursor) takenAt = Math.max(takenAt, askedAt)
    },
    match: (tenant, event) => patterns.get(tenant)?.match(event) ?? [],
    get: (id) => targets.get(id),
    isSuspended: (tenant) => suspended.has(tenant),
  }
}
