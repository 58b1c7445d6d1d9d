import { setTimeout as sleep } from 'node:timers/promises'
import type { DeliveryStatus } from '../../events/delivery.ts'
import type { TenantId } from '../../events/ids.ts'
import { payloadAad } from '../../events/sealed-fields.ts'
import { deliveryId } from '../../lib/delivery-id.ts'
import type { DeliveryKey } from '../../ports/delivery-log.ts'
import { answer } from '../answers.ts'
import { readWebhookCursor, writeWebhookCursor } from '../cursors.ts'
import { deliveryViews } from '../delivery-views.ts'
import { type ApiDependencies, defaultWaits, type RoutedMessage } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { messageId } from '../ids.ts'
import { readMessageBody } from '../message-body.ts'
import { type Route, route } from '../route.ts'
import { cursorPagination, defaultLimit, envelope, listOf } from '../schemas/common.ts'
import { delivery, listQuery } from '../schemas/delivery.ts'
import { event } from '../schemas/event.ts'

const statesPerQuery = 1_000
const firstPollMs = 10
const longestPollMs = 200

export function eventRoutes(deps: ApiDependencies): Route[] {
  const { deliveryLog, messages, keyring, settings } = deps
  const views = deliveryViews(deps)
  const tag = 'Events'

  /** A message that was just accepted is routed within moments: who reads it at once waits for that, in bounds. */
  const routed = async (tenant: TenantId, text: string, gone: () => AbortSignal): Promise<RoutedMessage> => {
    const id = messageId(text)
    const hungUp = gone()
    const end = performance.now() + (settings.routingWaitMs ?? defaultWaits.routingWaitMs)
    for (let poll = firstPollMs; ; poll = Math.min(longestPollMs, poll * 2)) {
      const found = await messages.find(tenant, id)
      if (found !== null) return found
      const left = end - performance.now()
      if (left <= 0 || hungUp.aborted) throw notFound({ 'retry-after': '1' })
      await sleep(Math.min(poll, left))
    }
  }
  const keyOf = ({ tenant, message, place, acceptedAt }: RoutedMessage, webhook: RoutedMessage['webhooks'][number]): DeliveryKey => ({
    webhook,
    acceptedAt,
    delivery: deliveryId(tenant, message, place, webhook),
  })
  const counts = async (message: RoutedMessage) => {
    const byStatus: Record<DeliveryStatus, number> = { pending: 0, retrying: 0, success: 0, failed: 0, discarded: 0 }
    for (let start = 0; start < message.webhooks.length; start += statesPerQuery) {
      const keys = message.webhooks.slice(start, start + statesPerQuery).map((webhook) => keyOf(message, webhook))
      // What the history does not show yet is owed all the same.
      for (const state of await deliveryLog.states(keys)) byStatus[state?.status ?? 'pending']++
    }
    return { total: message.webhooks.length, ...byStatus }
  }
  const bodyOf = async (message: RoutedMessage) => {
    const [sealed] = await deliveryLog.payloads([message])
    if (sealed === undefined || sealed === null) return null
    const vault = await keyring.vault(message.tenant)
    return readMessageBody(vault.open(payloadAad(message.tenant, message.message), sealed))
  }

  return [
    route({
      method: 'GET',
      path: '/v1/events/:id',
      operationId: 'getEvent',
      summary: 'Read an event, and what became of it',
      tag,
      credentials: 'bearer',
      scope: 'read:events',
      answers: { 200: { description: 'The event, once it is routed (which is waited for).', schema: envelope(event) } },
      async handler({ params, caller, gone }) {
        const message = await routed(caller.tenant, params.id, gone)
        const [body, deliveries, rejections] = await Promise.all([
          bodyOf(message),
          counts(message),
          messages.rejections(caller.tenant, message.message),
        ])
        const shown = {
          id: message.message,
          event: message.event,
          event_time: body?.eventTime ?? null,
          source: body?.source ?? null,
          status: message.webhooks.length === 0 ? 'unmatched' : 'routed',
          deliveries,
          has_rejections: rejections.length > 0,
          accepted_at: message.acceptedAt,
          expires_at: views.expiresAt(message.acceptedAt),
        }
        // The payload as it was sent: parsed and written again it would be another one.
        const data = `${JSON.stringify(shown).slice(0, -1)},"payload":${body?.payload ?? 'null'}}`
        return {
          status: 200,
          text: { type: 'application/json; charset=utf-8', content: `{"data":${data},"error":null,"pagination":null}` },
        }
      },
    }),
    route({
      method: 'GET',
      path: '/v1/events/:id/deliveries',
      operationId: 'listEventDeliveries',
      summary: "List an event's deliveries, the newest webhook's first",
      tag,
      credentials: 'bearer',
      scope: 'read:events',
      query: listQuery,
      errors: ['invalid_cursor'],
      answers: { 200: { description: 'A page of deliveries.', schema: envelope(listOf(delivery), cursorPagination) } },
      async handler({ params, query, caller, gone }) {
        const { limit = defaultLimit } = query
        const after = query.cursor === undefined ? null : readWebhookCursor(query.cursor)
        const message = await routed(caller.tenant, params.id, gone)
        const webhooks = [...message.webhooks].sort().reverse()
        const rest = after === null ? webhooks : webhooks.filter((webhook) => webhook < after)
        const page = rest.slice(0, limit)
        const shown = await views.ofMessage(
          message,
          page.map((webhook) => keyOf(message, webhook)),
        )
        const last = page.at(-1)
        return answer(200, shown, {}, { limit, next_cursor: rest.length > limit && last !== undefined ? writeWebhookCursor(last) : null })
      },
    }),
  ]
}
