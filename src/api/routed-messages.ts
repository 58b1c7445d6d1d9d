import { setTimeout as sleep } from 'node:timers/promises'
import type { DeliveryStatus } from '../events/delivery.ts'
import { deliveryId } from '../events/delivery-id.ts'
import type { TenantId, WebhookId } from '../events/ids.ts'
import type { DeliveryKey } from '../ports/delivery-log.ts'
import type { IndexedMessage } from '../projections/message-index.ts'
import { type ApiDependencies, defaultWaits } from './dependencies.ts'
import { notFound } from './errors.ts'
import { parseMessageId } from './ids.ts'

const statesPerQuery = 1_000
const firstPollMs = 10
const longestPollMs = 200

/** Names the delivery of a message to one of its webhooks. */
export const deliveryKeyOf = ({ tenant, message, place, accepted_at }: IndexedMessage, webhook: WebhookId): DeliveryKey => ({
  webhook,
  accepted_at,
  delivery: deliveryId(tenant, message, place, webhook),
})

export type DeliveryCounts = { readonly total: number } & Readonly<Record<DeliveryStatus, number>>

/** Messages of the index, and what became of them. */
export function createRoutedMessages({ messages, deliveryLog, settings }: Pick<ApiDependencies, 'messages' | 'deliveryLog' | 'settings'>) {
  const states = async (keys: readonly DeliveryKey[]) => {
    const found: Awaited<ReturnType<typeof deliveryLog.states>> = []
    for (let start = 0; start < keys.length; start += statesPerQuery)
      found.push(...(await deliveryLog.states(keys.slice(start, start + statesPerQuery))))
    return found
  }
  return {
    /**
     * A message that was just accepted is routed within moments: who reads it at once waits for that, in bounds.
     * Throws not_found.
     */
    async find(tenant: TenantId, text: string, gone: () => AbortSignal): Promise<IndexedMessage> {
      const id = parseMessageId(text)
      const hungUp = gone()
      const end = performance.now() + (settings.routingWaitMs ?? defaultWaits.routingWaitMs)
      for (let poll = firstPollMs; ; poll = Math.min(longestPollMs, poll * 2)) {
        const found = await messages.find(tenant, id)
        if (found !== null) return found
        const left = end - performance.now()
        if (left <= 0 || hungUp.aborted) throw notFound({ 'retry-after': '1' })
        await sleep(Math.min(poll, left))
      }
    },
    states,
    /** Deliveries of each message by status. What the history does not show yet is owed all the same: pending. */
    async counts(of: readonly IndexedMessage[]): Promise<DeliveryCounts[]> {
      const found = await states(of.flatMap((message) => message.webhooks.map((webhook) => deliveryKeyOf(message, webhook))))
      let next = 0
      return of.map(({ webhooks }) => {
        const byStatus = { pending: 0, retrying: 0, success: 0, failed: 0, discarded: 0 }
        for (const _ of webhooks) byStatus[found[next++]?.status ?? 'pending']++
        return { total: webhooks.length, ...byStatus }
      })
    },
  }
}
