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
  /** RFC 3339 */
  now(): string
}
/** The event of an attempt. */
type Cause = Pick<RecordedEvent, 'id' | 'metadata'> & {
  readonly data: { readonly tenant: TenantId; readonly webhook: WebhookId; readonly webhook_revision: number }
}

/** What a former turn of this command, or a change of the webhook meanwhile, answers: there is nothing left to do. */
const settled = new Set(['not_found', 'precondition_failed'])

/**
 * Deactivates the webhook of an attempt, unless its revision has moved on since (its URL may be another by now). Idempotent
 * for the same cause.
 */
export async function deactivate(deps: DeactivationDeps, cause: Cause, reason: 'gone' | 'failing'): Promise<void> {
  const { webhook, webhook_revision: revision, tenant } = cause.data
  try {
    const { changed } = await handle(
      deps.streams,
      webhookDecider,
      webhookStream(webhook),
      { type: 'DeactivateWebhook', reason },
      {
        caller: { tenant, actor: `system:${reason}-manager`, scopes: new Set(), keyId: null },
        correlationId: cause.metadata.$correlationId,
        causationId: cause.id,
        now: deps.now(),
        ifMatch: [revision],
      },
    )
    if (changed) deps.log.info({ webhook, revision, reason }, 'webhook.deactivated')
  } catch (error) {
    if (!(error instanceof KolbakError) || !settled.has(error.code)) throw error
    deps.log.debug({ webhook, revision, reason, code: error.code }, 'webhook.deactivation_settled')
  }
}
