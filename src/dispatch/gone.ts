import type { CommandStreams } from '../commands/command-streams.ts'
import { handle } from '../commands/handler.ts'
import { webhookDecider } from '../commands/webhook.ts'
import type { RecordedDeliveryEvent } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { webhookStream } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import type { Projection } from '../projections/projection.ts'

const gone = 410
type RecordedDeadLetter = Extract<RecordedDeliveryEvent, { type: 'DeliveryDeadLettered' }>
const isGone = (event: RecordedEvent): event is RecordedDeadLetter =>
  event.type === 'DeliveryDeadLettered' && (event as RecordedDeadLetter).data.code === gone
/** What a former turn of this command, or a change of the webhook meanwhile, answers: there is nothing left to do. */
const settled = new Set(['not_found', 'precondition_failed'])

/**
 * The process manager of 410 Gone: deactivates the webhook whose receiver said so, unless its revision has moved on since
 * that attempt (its URL may be another by now).
 */
export const goneManager = (deps: { streams: CommandStreams; log: Log; now(): string }): Projection => ({
  name: 'gone_manager',
  version: 1,
  families: ['attempts'],
  concerns: isGone,
  async prepare(events: readonly RecordedEvent[]) {
    for (const event of events.filter(isGone)) {
      if (event.data.webhook_revision === null) continue
      const { webhook, webhook_revision: revision, tenant } = event.data
      try {
        await handle(
          deps.streams,
          webhookDecider,
          webhookStream(webhook),
          { type: 'DeactivateWebhook', reason: 'gone' },
          {
            caller: { tenant, actor: 'system:gone-manager', scopes: new Set(), keyId: null },
            correlationId: event.metadata.$correlationId,
            causationId: event.id,
            now: deps.now(),
            ifMatch: [revision],
          },
        )
        deps.log.info({ webhook, revision }, 'webhook.gone')
      } catch (error) {
        if (!(error instanceof KolbakError) || !settled.has(error.code)) throw error
        deps.log.debug({ webhook, revision, code: error.code }, 'webhook.gone_settled')
      }
    }
  },
  async apply() {
    // Its commands are appended above; only the checkpoint moves here.
  },
})
