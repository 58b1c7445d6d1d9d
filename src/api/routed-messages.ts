import { setTimeout as sleep } from 'node:timers/promises'
import type { DeliveryStatus } from '../events/delivery.ts'
import { deliveryId } from '../events/delivery-id.ts'
import type { TenantId, WebhookId } from '../events/ids.ts'
import type { Delivery, DeliveryKey } from '../ports/delivery-log.ts'
import type { IndexedMessage } from '../projections/message-index.ts'
import { deliveriesAt } from './delivery-as-of.ts'
import { type ApiDependencies, defaultWaits } from './dependencies.ts'
import { notRetained } from './errors.ts'
import { parseMessageId } from './ids.ts'

const statesPerQuery = 1_000
const firstPollMs = 10
const longestPollMs = 200

/** Returns the key of the delivery of a message to one of its webhooks. */
export const deliveryKeyOf = ({ tenant, message, place, accepted_at }: IndexedMessage, webhook: WebhookId): DeliveryKey => ({
  webhook,
  accepted_at,
  delivery: deliveryId(tenant, message, place, webhook),
})

type DeliveryCounts = { readonly total: number } & Readonly<Record<DeliveryStatus, number>>

/** Reads messages of the index, and the states of their deliveries. */
export function createRoutedMessages({
  messages,
  deliveryLog,
  noteAccepted,
  settings,
  store,
  now,
}: Pick<ApiDependencies, 'messages' | 'deliveryLog' | 'noteAccepted' | 'settings' | 'store' | 'now'>) {
  const deliveryStates = async (keys: readonly DeliveryKey[]) => {
    const states: Awaited<ReturnType<typeof deliveryLog.states>> = []
    for (let start = 0; start < keys.length; start += statesPerQuery)
      states.push(...(await deliveryLog.states(keys.slice(start, start + statesPerQuery))))
    return states
  }
  const statesAt = async (keys: readonly DeliveryKey[], time?: string): Promise<readonly (Pick<Delivery, 'status'> | null)[]> => {
    const states = await deliveryStates(keys)
    if (time === undefined) return states
    const knownStates = states.filter((state) => state !== null)
    const pasts = await deliveriesAt({ deliveryLog, store }, knownStates, time)
    const pastOf = new Map(knownStates.map((state, i) => [state, pasts[i] ?? null]))
    return states.map((state) => (state === null ? null : (pastOf.get(state) ?? null)))
  }
  return {
    /**
     * Returns a message. A message that was accepted a moment ago is usually not routed yet, so the call waits a bounded time for its routing. It
     * stops waiting when every message that was accepted before the call is routed. Throws not_found, with Retry-After if the message may still come.
     */
    async find(tenant: TenantId, rawId: string, gone: () => AbortSignal): Promise<IndexedMessage> {
      const id = parseMessageId(rawId)
      const first = await messages.find(tenant, id)
      if (first !== null) return first
      const callerGone = gone()
      const end = performance.now() + (settings.routingWaitMs ?? defaultWaits.routingWaitMs)
      // If the bus cannot be asked, the message may still come.
      const areRouted = await noteAccepted().catch(() => async () => false)
      for (let pollMs = firstPollMs; ; pollMs = Math.min(longestPollMs, pollMs * 2)) {
        // The bus is asked first, so that a message that is routed between the two calls is still found.
        const isLast = await areRouted().catch(() => false)
        const message = await messages.find(tenant, id)
        if (message !== null) return message
        if (isLast) throw notRetained({ settings, now })
        const remainingMs = end - performance.now()
        if (remainingMs <= 0 || callerGone.aborted) throw notRetained({ settings, now }, { 'retry-after': '1' })
        await sleep(Math.min(pollMs, remainingMs))
      }
    },
    deliveryStates,
    /**
     * Returns the number of deliveries of each message by status. A delivery that is not in the history yet is pending.
     * @param time the time (RFC 3339) whose statuses are counted; by default the present
     */
    async counts(indexed: readonly IndexedMessage[], time?: string): Promise<DeliveryCounts[]> {
      const keys = indexed.flatMap((message) => message.webhooks.map((webhook) => deliveryKeyOf(message, webhook)))
      const states = await statesAt(keys, time)
      let next = 0
      return indexed.map(({ webhooks }) => {
        const byStatus = { pending: 0, retrying: 0, success: 0, failed: 0, discarded: 0 }
        for (const _ of webhooks) byStatus[states[next++]?.status ?? 'pending']++
        return { total: webhooks.length, ...byStatus }
      })
    },
  }
}
