import { type WebhookState, webhookDecider } from '../../commands/webhook.ts'
import { patternTakes, reservedPrefix } from '../../events/pattern.ts'
import { webhookStream } from '../../events/streams.ts'
import type { IndexedMessage } from '../../projections/message-index.ts'
import { statesOf } from '../as-of.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { parseWebhookId } from '../ids.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { createRoutedMessages, deliveryKeyOf } from '../routed-messages.ts'
import { envelope } from '../schemas/common.ts'
import { explainQuery, explanation, type reasons } from '../schemas/explain.ts'

type Reason = (typeof reasons)[number]

/** Why a message was matched to a webhook or not, by the webhook as it was when the message was matched. */
function reasonOf(message: IndexedMessage, isOwed: boolean, then: WebhookState | null): Reason {
  // Kolbak's own messages are for one webhook each, whatever it wants.
  if (message.event.startsWith(reservedPrefix)) return isOwed ? 'test' : 'test_of_another'
  if (isOwed) return 'matched'
  if (then === null) return 'created_later'
  if (then.deleted) return 'deleted'
  if (!then.is_active) return 'inactive'
  return patternTakes(then.event, message.event) ? 'not_known_yet' : 'pattern'
}
const sentenceOf: Readonly<Record<Reason, (message: IndexedMessage, then: WebhookState | null) => string>> = {
  matched: () => 'The webhook was active and wanted the event.',
  test: () => 'It is a test of this webhook, which gets it whatever events it wants.',
  test_of_another: () => 'It is a test of another webhook, and for that one alone.',
  created_later: () => 'The webhook was created after the event had been matched.',
  deleted: () => 'The webhook had been deleted.',
  inactive: (_, then) => `The webhook was inactive (${then?.deactivation_reason}).`,
  pattern: (message, then) => `The webhook wanted ${then?.event}, which does not take ${message.event}.`,
  not_known_yet: () => 'The change that would have made it match had been stored, and was not yet seen when the event was matched.',
}
const nextOf = (status: string | undefined, at: string | null): string => {
  switch (status) {
    case undefined:
      return 'Nothing: nothing is owed to this webhook.'
    case 'pending':
      return 'The next attempt, as soon as there is a slot.'
    case 'retrying':
      return `The next attempt, at about ${at}.`
    case 'success':
      return 'Nothing: it was delivered.'
    case 'discarded':
      return 'Nothing: the webhook was inactive or deleted; a replay sends it again.'
    default:
      return 'Nothing: it is a dead letter; a replay sends it again.'
  }
}

export function createExplainRoutes(deps: ApiDependencies): Route[] {
  const { find } = createRoutedMessages(deps)
  const { ofMessage } = createDeliveryViews(deps)
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/events/:id/explain',
      operationId: 'explainEvent',
      summary: 'Why an event did, or did not, reach a webhook: its state at that moment, every attempt, and what comes next',
      tag: 'Audit',
      credentials: 'bearer',
      scope: 'read:audit',
      query: explainQuery,
      responses: { 200: { description: 'The explanation.', schema: envelope(explanation) } },
      async handler({ params, query, caller, gone }) {
        const id = parseWebhookId(query.webhook)
        const [message, { events }] = await Promise.all([find(caller.tenant, params.id, gone), deps.streams.read(webhookStream(id))])
        const first = statesOf(webhookDecider, events.slice(0, 1))[0]
        if (first?.tenant !== caller.tenant) throw notFound()
        // What the dispatcher's copy had: all events up to the checkpoint that the message was matched at.
        const seen = events.filter((event) => event.position <= message.matched_at)
        const then = statesOf(webhookDecider, seen).at(-1) ?? null
        const isOwed = message.webhooks.includes(id)
        const reason = reasonOf(message, isOwed, then)
        const [delivery = null] = isOwed ? await ofMessage(message, [deliveryKeyOf(message, id)]) : []
        return envelopeResult(200, {
          event_id: message.message,
          event: message.event,
          accepted_at: message.accepted_at,
          webhook_id: id,
          matched: isOwed,
          reason,
          explanation: sentenceOf[reason](message, then),
          webhook_then:
            then === null
              ? null
              : { revision: seen.length - 1, event: then.event, is_active: then.is_active, callback_url: then.callback_url },
          delivery,
          next: nextOf(delivery?.status, delivery?.next_attempt_at ?? null),
        })
      },
    }),
  ]
}
