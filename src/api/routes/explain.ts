import { type WebhookState, webhookDecider } from '../../commands/webhook.ts'
import { patternMatches, reservedPrefix } from '../../events/pattern.ts'
import { webhookStream } from '../../events/streams.ts'
import type { IndexedMessage } from '../../projections/message-index.ts'
import { statesOf } from '../as-of.ts'
import { createDeliveryViews } from '../delivery-views.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { parseWebhookId } from '../ids.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { createRoutedMessages, deliveryKeyOf } from '../routed-messages.ts'
import { envelope, messageId } from '../schemas/common.ts'
import { explainQuery, explanation, type reasons } from '../schemas/explain.ts'

type Reason = (typeof reasons)[number]

/** Returns why a message was or was not matched. @param webhook the state at the moment of matching, or null before the creation */
function reasonOf(message: IndexedMessage, isMatched: boolean, webhook: WebhookState | null): Reason {
  // A message with the reserved prefix is a test of one webhook. Patterns do not count for it.
  if (message.event.startsWith(reservedPrefix)) return isMatched ? 'test' : 'test_of_another'
  if (isMatched) return 'matched'
  if (webhook === null) return 'created_later'
  if (webhook.deleted) return 'deleted'
  if (!webhook.is_active) return 'inactive'
  return patternMatches(webhook.event, message.event) ? 'not_known_yet' : 'pattern'
}
const sentenceOf: Readonly<Record<Reason, (message: IndexedMessage, webhook: WebhookState | null) => string>> = {
  matched: () => 'The webhook was active, and its pattern matched the event.',
  test: () => 'The event is a test of this webhook, which gets it whatever its pattern is.',
  test_of_another: () => 'The event is a test of another webhook, and only that one gets it.',
  created_later: () => 'The webhook was created after the event had been matched.',
  deleted: () => 'The webhook had been deleted.',
  inactive: (_, webhook) => `The webhook was inactive (${webhook?.deactivation_reason}).`,
  pattern: (message, webhook) => `The pattern of the webhook was ${webhook?.event}, which does not match ${message.event}.`,
  not_known_yet: () => 'The webhook had just been changed so that it would match, but the dispatcher did not see the change in time.',
}
const nextStepOf = (status: string | undefined, nextAttemptAt: string | null): string => {
  switch (status) {
    case undefined:
      return 'Nothing follows, because there is no delivery to this webhook.'
    case 'pending':
      return 'The next attempt, as soon as there is a slot.'
    case 'retrying':
      return `The next attempt, at about ${nextAttemptAt}.`
    case 'success':
      return 'Nothing follows, because the event was delivered.'
    case 'discarded':
      return 'Nothing follows, because the webhook was inactive or deleted. A replay sends the event again.'
    default:
      return 'Nothing follows, because the delivery is a dead letter. A replay sends the event again.'
  }
}

export function createExplainRoutes(deps: ApiDependencies): Route[] {
  const routedMessages = createRoutedMessages(deps)
  const { viewsOfMessage } = createDeliveryViews(deps)
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/events/:id/explain',
      operationId: 'explainEvent',
      summary: 'Explain why an event did or did not reach a webhook: the webhook at that moment, every attempt, and the next step',
      description:
        'Explains why a webhook did or did not get an event. It compares the event with the webhook as it was when the event was matched, and not as it is now.',
      params: { id: { ...messageId, description: 'The id of the event.' } },
      tag: 'Events',
      credentials: 'bearer',
      scope: 'read:audit',
      query: explainQuery,
      errors: ['delivery_log_unavailable'],
      responses: { 200: { description: 'The explanation.', schema: envelope(explanation) } },
      async handler({ params, query, caller, gone }) {
        const id = parseWebhookId(query.webhook)
        const [message, { events }] = await Promise.all([
          routedMessages.find(caller.tenant, params.id, gone),
          deps.streams.read(webhookStream(id)),
        ])
        const firstState = statesOf(webhookDecider, events.slice(0, 1))[0]
        if (firstState?.tenant !== caller.tenant) throw notFound()
        // The dispatcher's cache contained the events up to the checkpoint at which the message was matched.
        const eventsThen = events.filter((event) => event.position <= message.matched_at)
        const webhookThen = statesOf(webhookDecider, eventsThen).at(-1) ?? null
        const isMatched = message.webhooks.includes(id)
        const reason = reasonOf(message, isMatched, webhookThen)
        const [delivery = null] = isMatched ? await viewsOfMessage(message, [deliveryKeyOf(message, id)]) : []
        return envelopeResult(200, {
          event_id: message.message,
          event: message.event,
          accepted_at: message.accepted_at,
          webhook_id: id,
          matched: isMatched,
          reason,
          explanation: sentenceOf[reason](message, webhookThen),
          webhook_then: webhookThen === null ? null : { revision: eventsThen.length - 1, ...pickShown(webhookThen) },
          delivery,
          next: nextStepOf(delivery?.status, delivery?.next_attempt_at ?? null),
        } satisfies shown.Explanation)
      },
    }),
  ]
}

const pickShown = ({ event, is_active, callback_url }: WebhookState) => ({ event, is_active, callback_url })
