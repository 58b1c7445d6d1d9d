import { isListedAttempt, keptResponseBytes } from '../events/delivery.ts'
import { fieldAad } from '../events/sealed-fields.ts'
import { msPerDay } from '../lib/days.ts'
import { erasedText, type Vault } from '../lib/seal.ts'
import type { Attempt, Delivery, DeliveryKey, ListedDelivery } from '../ports/delivery-log.ts'
import type { IndexedMessage } from '../projections/message-index.ts'
import type { ApiDependencies } from './dependencies.ts'
import type * as shown from './responses.ts'

/** The fields of a delivery that a view needs. */
type ViewedDelivery = Pick<
  Delivery,
  'webhook' | 'accepted_at' | 'delivery' | 'message' | 'event' | 'status' | 'chain' | 'code' | 'reason' | 'next_attempt_at'
> &
  Pick<ListedDelivery, 'request'>

/** Makes the functions that turn deliveries and their attempts into API responses. */
export function createDeliveryViews(deps: Pick<ApiDependencies, 'deliveryLog' | 'keyring' | 'settings' | 'log'>) {
  const { deliveryLog, keyring, settings, log } = deps
  const expiresAt = (accepted_at: string) => new Date(Date.parse(accepted_at) + settings.retentionDays * msPerDay).toISOString()

  const responseOf = (vault: Vault, tenant: string, delivery: string, { response, event_id }: Attempt) => {
    if (response === null) return { response_body: null, response_truncated: false }
    if (vault.isErased) return { response_body: erasedText, response_truncated: false }
    try {
      const bytes = Buffer.from(vault.openText(fieldAad(tenant, delivery, 'response'), response), 'base64')
      // Bytes that are not UTF-8 become replacement characters.
      return { response_body: bytes.toString(), response_truncated: bytes.length >= keptResponseBytes }
    } catch (error) {
      // One response that cannot be opened must not hide the rest of the history.
      log.error({ error, delivery, event_id }, 'attempt.response_unreadable')
      return { response_body: null, response_truncated: false }
    }
  }
  /** @param until the time (RFC 3339) after which attempts are left out */
  const viewsOf = async (tenant: string, deliveries: readonly ViewedDelivery[], until?: string): Promise<shown.Delivery[]> => {
    if (deliveries.length === 0) return []
    const [vault, attempts] = await Promise.all([keyring.vault(tenant), deliveryLog.attempts(deliveries)])
    return deliveries.map((delivery, i) => {
      const requests = (attempts[i] ?? []).filter(({ type, time }) => isListedAttempt(type) && (until === undefined || time <= until))
      return {
        id: delivery.delivery,
        event_id: delivery.message,
        webhook_id: delivery.webhook,
        event: delivery.event,
        status: delivery.status,
        chain: delivery.chain,
        attempt_count: requests.filter((attempt) => attempt.chain === delivery.chain).length,
        next_attempt_at: delivery.next_attempt_at,
        last_response_code: delivery.code,
        last_reason: delivery.reason,
        accepted_at: delivery.accepted_at,
        expires_at: expiresAt(delivery.accepted_at),
        attempts: requests.map((attempt) => ({
          number: attempt.attempt,
          chain: attempt.chain,
          at: attempt.time,
          status: attempt.type === 'DeliverySucceeded' ? 'success' : 'failed',
          response_code: attempt.code,
          duration_ms: attempt.duration_ms,
          reason: attempt.reason,
          reason_detail: attempt.reason_detail,
          ...responseOf(vault, tenant, delivery.delivery, attempt),
        })),
      }
    })
  }
  const pending = { status: 'pending', chain: 1, code: null, reason: null, next_attempt_at: null } as const
  return {
    expiresAt,
    viewsOf,
    /** Returns the views of deliveries of a routed message. A delivery that is not in the history yet is pending. */
    async viewsOfMessage(message: IndexedMessage, keys: readonly DeliveryKey[]) {
      const states = await deliveryLog.states(keys)
      return viewsOf(
        message.tenant,
        keys.map((key, i) => states[i] ?? { ...key, ...pending, message: message.message, event: message.event }),
      )
    },
  }
}
