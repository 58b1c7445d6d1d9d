import type { Pool } from 'pg'
import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { WebhookId } from '../events/ids.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'

type Failed = Extract<RecordedDeliveryEvent, { type: 'DeliveryFailed' | 'DeliveryDeadLettered' }>
/** Reasons of deliveries that ended without a request. These reasons say nothing about the receiver. */
const withoutRequest = new Set(['expired', 'payload_expired', 'payload_erased', 'payload_unreadable'])

/** The event of a failed request. */
export type Failure = Failed & { data: { webhook_revision: number } }
/** Returns whether the event says that a request to a receiver failed. */
export function isFailure(event: RecordedEvent): event is Failure {
  if (event.type !== 'DeliveryFailed' && event.type !== 'DeliveryDeadLettered') return false
  const { reason, webhook_revision: revision } = (event as Failed).data
  return revision !== null && !withoutRequest.has(reason ?? '')
}
const isSuccess = (event: RecordedEvent): event is Extract<RecordedDeliveryEvent, { type: 'DeliverySucceeded' }> =>
  event.type === 'DeliverySucceeded'

interface Failing {
  readonly webhook: WebhookId
  readonly revision: number
  readonly since: string
  failures: number
}

/**
 * Updates `webhook_health`: a success deletes the rows of the webhook, and a failure inserts a row or raises its count. The projection that
 * writes the history calls this function in its transaction, because it reads these events anyway. A batch without failures costs only one query of a
 * table that is mostly empty.
 */
export async function recordHealth(sql: Sql, events: readonly RecordedEvent[]): Promise<void> {
  const healthy = new Set<WebhookId>()
  const failing = new Map<WebhookId, Map<number, Failing>>()
  for (const event of events)
    if (isSuccess(event)) {
      healthy.add(event.data.webhook)
      failing.delete(event.data.webhook)
    } else if (isFailure(event)) {
      const { webhook, webhook_revision: revision } = event.data
      const byRevision = failing.get(webhook) ?? new Map<number, Failing>()
      const counted = byRevision.get(revision)
      if (counted === undefined) byRevision.set(revision, { webhook, revision, since: event.metadata.time, failures: 1 })
      else counted.failures++
      failing.set(webhook, byRevision)
    }
  if (healthy.size > 0) await sql`delete from webhook_health where webhook = any (${[...healthy]}::text[])`
  const rows = [...failing.values()].flatMap((byRevision) => [...byRevision.values()])
  if (rows.length === 0) return
  await sql`insert into webhook_health as mine (webhook, revision, failing_since, failures)
    select * from unnest(${rows.map((row) => row.webhook)}::text[], ${rows.map((row) => row.revision)}::int[],
      ${rows.map((row) => row.since)}::timestamptz[], ${rows.map((row) => row.failures)}::int[])
    on conflict (webhook, revision) do update set failures = mine.failures + excluded.failures`
}

interface FailingWebhook {
  readonly webhook: WebhookId
  /** RFC 3339 time of the first failure since the last success or activation. */
  readonly failing_since: string
}

/** Returns the active webhooks among `webhooks` with at least `minFailures` failures since their last success or activation. */
export const failingWebhooks = (pool: Pool, webhooks: readonly WebhookId[], minFailures: number): Promise<FailingWebhook[]> =>
  sqlOn(pool)<FailingWebhook>`
    select h.webhook, min(h.failing_since) as failing_since
    from webhook_health h join webhook_subscriptions w on w.id = h.webhook
    where h.webhook = any (${webhooks}::text[]) and w.is_active and h.revision >= w.activated_revision
    group by h.webhook having sum(h.failures) >= ${minFailures}`
