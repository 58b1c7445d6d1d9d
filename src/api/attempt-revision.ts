import { type WebhookState, webhookDecider } from '../commands/webhook.ts'
import type { WebhookId } from '../events/ids.ts'
import { webhookStream } from '../events/streams.ts'
import type { Attempt } from '../ports/delivery-log.ts'
import { findAttemptEvent } from '../ports/find-event.ts'
import { statesOf } from './as-of.ts'
import type { ApiDependencies } from './dependencies.ts'

/** The webhook as the dispatcher knew it when it made an attempt. */
export interface WebhookAtAttempt {
  readonly webhook: WebhookState
  readonly revision: number
  /** The revision of today, or null if the webhook is deleted. */
  readonly presentRevision: number | null
  /** Whether the revision is certain. It is not if the webhook changed just before the attempt and the event of the attempt is no longer kept. */
  readonly isCertain: boolean
}

/**
 * This many milliseconds after a change of a webhook, every dispatcher knows the change. The webhook cache is at most a second old, but on a busy
 * machine the read model from which it is refreshed may be further behind.
 */
const settledAfterMs = 60_000
/**
 * Finds the revision of the webhook that an attempt used. If the webhook did not change in the minute before the attempt, it is the last revision
 * before that minute. Otherwise, the event of the attempt is read, which names the revision.
 */
export async function webhookAtAttempt(
  { streams, store }: Pick<ApiDependencies, 'streams' | 'store'>,
  id: WebhookId,
  attempt: Pick<Attempt, 'event_id' | 'time'>,
): Promise<WebhookAtAttempt | null> {
  const { events } = await streams.read(webhookStream(id))
  const states = statesOf(webhookDecider, events)
  const attemptedAt = Date.parse(attempt.time)
  const latest = events.findLastIndex(({ metadata }) => Date.parse(metadata.time) <= attemptedAt)
  const settled = events.findLastIndex(({ metadata }) => Date.parse(metadata.time) <= attemptedAt - settledAfterMs)
  const isSettled = latest <= Math.max(0, settled)
  const recorded = isSettled ? null : ((await findAttemptEvent(store, id, attempt))?.data.webhook_revision ?? null)
  const revision = recorded ?? Math.max(0, latest)
  const webhook = states[revision]
  if (webhook === undefined || webhook === null) return null
  const isDeleted = states.at(-1)?.deleted !== false
  return { webhook, revision, presentRevision: isDeleted ? null : events.length - 1, isCertain: isSettled || recorded !== null }
}
