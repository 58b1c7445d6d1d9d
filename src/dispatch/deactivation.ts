import type { CommandStreams } from '../commands/command-streams.ts'
import { handle } from '../commands/handler.ts'
import { webhookDecider } from '../commands/webhook.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import type { TenantId, WebhookId } from '../events/ids.ts'
import { webhookStream } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'

export interface DeactivationDeps {
  readonly streams: CommandStreams
  readonly log: Log
  /** The present time in RFC 3339. */
  now(): string
}
/** The actor of the events, by the reason of the deactivation. */
const actors = { gone: 'system:gone-manager', failing: 'system:failing-manager', key_deleted: 'system:key-manager' } as const

/** With these error codes there is nothing to do, because the webhook was deleted or has changed since the cause. */
const codesOfNothingToDo = new Set(['not_found', 'precondition_failed'])

/**
 * Deactivates a webhook because of an event of its tenant, which is the cause. A repetition with the same cause changes nothing.
 * @param revision the only revision at which the webhook is deactivated; without it, any revision
 */
export async function deactivate(
  deps: DeactivationDeps,
  cause: Pick<RecordedEvent, 'id' | 'metadata'>,
  reason: keyof typeof actors,
  webhook: WebhookId,
  revision?: number,
): Promise<void> {
  try {
    const { changed } = await handle(
      deps.streams,
      webhookDecider,
      webhookStream(webhook),
      { type: 'DeactivateWebhook', reason },
      {
        caller: { tenant: cause.metadata.tenant as TenantId, actor: actors[reason], scopes: new Set(), key_id: null },
        correlation_id: cause.metadata.$correlationId,
        causationId: cause.id,
        now: deps.now(),
        ...(revision === undefined ? {} : { ifMatch: [revision] }),
      },
    )
    if (changed) deps.log.info({ webhook, revision, reason, cause: cause.id }, 'webhook.deactivated')
  } catch (error) {
    if (!(error instanceof KolbakError) || !codesOfNothingToDo.has(error.code)) throw error
    deps.log.debug({ webhook, revision, reason, code: error.code }, 'webhook.deactivation_needless')
  }
}
