import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import type { WebhookId } from '../events/ids.ts'
import { msPerDay } from '../lib/days.ts'
import { projectionNames } from '../projections/names.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import { type Failure, failingWebhooks, isFailure } from '../projections/webhook-health.ts'
import { type DeactivationDeps, deactivate } from './deactivation.ts'

/** A webhook counts as failing after `failingMs` without a success and with at least `minFailures` failed requests. */
const failingMs = 5 * msPerDay
const minFailures = 10
const healthWaitMs = 5_000

export interface FailingDeps extends DeactivationDeps {
  readonly pool: Pool
  readonly waiter: ProjectionWaiter
}

/**
 * Deactivates webhooks that have had only failures for five days, by the recorded times of the requests. First it waits until `webhook_health` has
 * the newest failure, and so every success before it. If this takes more than 5 s, it decides nothing until the next failure.
 */
export async function deactivateFailing(deps: FailingDeps, events: readonly RecordedEvent[]): Promise<void> {
  const last = new Map<WebhookId, Failure>()
  let newest: Failure | null = null
  for (const event of events)
    if (isFailure(event)) {
      last.set(event.data.webhook, event)
      newest = event
    }
  if (newest === null) return
  if (!(await deps.waiter.waitFor(projectionNames.deliveries, newest.position, healthWaitMs, newest.stream))) return
  for (const { webhook, failing_since } of await failingWebhooks(deps.pool, [...last.keys()], minFailures)) {
    const event = last.get(webhook)
    if (event !== undefined && Date.parse(event.metadata.time) - Date.parse(failing_since) >= failingMs)
      await deactivate(deps, event, 'failing', webhook, event.data.webhook_revision)
  }
}
