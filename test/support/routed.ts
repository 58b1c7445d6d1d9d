import { randomUUID } from 'node:crypto'
import type { FactType } from '../../src/events/delivery.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { DeliveryId, EventId, WebhookId } from '../../src/events/ids.ts'
import { recordedRef } from '../../src/events/message-record.ts'
import { firstAttempt } from '../../src/events/refs.ts'
import { fieldAad } from '../../src/events/sealed-fields.ts'
import type { DeliveryFact } from '../../src/ports/delivery-log.ts'
import { createMessageIndex } from '../../src/projections/message-index.ts'
import type { Produced, TestApi } from './api.ts'

export interface Outcome {
  readonly type: FactType
  readonly chain?: number
  readonly attempt?: number
  readonly time?: string
  readonly code?: number | null
  readonly duration_ms?: number | null
  readonly reason?: string | null
  readonly reason_detail?: string | null
  /** The bytes of the response before they are sealed. */
  readonly response?: Buffer | null
  readonly delay_seconds?: number | null
}
export interface RoutedDelivery {
  readonly id: DeliveryId
  readonly webhook: WebhookId
  /** Records the outcomes of attempts. */
  record(...outcomes: Outcome[]): Promise<void>
}

/** Routes a produced message as a dispatcher does: it writes the message index, and then the facts of the history. */
export async function route(api: TestApi, { record, place }: Produced, webhooks: readonly string[]): Promise<RoutedDelivery[]> {
  const [message] = record.messages
  if (message === undefined) throw new Error('an empty record')
  const { tenant, correlation_id } = record
  const ref = recordedRef(record, message, place)
  const ids = webhooks.map((webhook) => webhook as WebhookId)
  const { rows } = await api.db.pool.query<{ checkpoint: Checkpoint | null }>(
    "select checkpoint from projections where name = 'webhooks' and is_live",
  )
  const [isInserted] = await createMessageIndex(api.db.pool).insertNew([
    { ...ref, webhooks: ids, matched_at: rows[0]?.checkpoint ?? ('0' as Checkpoint) },
  ])
  if (!isInserted) throw new Error('the message is in the index already')
  const vault = await api.deps.keyring.vault(tenant)
  const log = api.deps.deliveryLog as TestApi['deps']['deliveryLog'] & { record(facts: readonly DeliveryFact[]): Promise<void> }
  return ids.map((webhook) => {
    const first = firstAttempt(ref, webhook, correlation_id)
    const { delivery } = first
    return {
      id: delivery,
      webhook,
      record: (...outcomes) =>
        log.record(
          outcomes.map(({ type, chain = 1, attempt = 1, time = new Date().toISOString(), response = null, ...outcome }) => ({
            ...first,
            type,
            chain,
            attempt,
            event_id: randomUUID() as EventId,
            time,
            code: outcome.code ?? null,
            duration_ms: outcome.duration_ms ?? null,
            reason: outcome.reason ?? null,
            reason_detail: outcome.reason_detail ?? null,
            response: response === null ? null : vault.sealText(fieldAad(tenant, delivery, 'response'), response.toString('base64')),
            delay_seconds: outcome.delay_seconds ?? null,
          })),
        ),
    }
  })
}
