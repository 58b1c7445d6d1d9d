import type { MessageRecord } from '../events/message-record.ts'
import type { Log } from '../lib/log.ts'
import type { Match, Matcher } from '../ports/message-bus.ts'
import type { ChangeCursor } from '../projections/webhooks.ts'
import type { RoutingGate } from './routing-gate.ts'
import type { WebhookCache } from './webhook-cache.ts'

/** The most webhooks of all messages that one statement stores. Records that match more are routed by their consumer. */
const maxWebhooks = 10_000

/**
 * Creates the matcher for records that this process produces (decision 43). It matches only while routing may go on without a refresh of the webhook
 * cache. In every other case, the consumer of the record matches it.
 */
export function createStoredMatcher(deps: {
  gate: Pick<RoutingGate, 'isOpen'>
  webhookCache: Pick<WebhookCache, 'cursor' | 'checkpoint' | 'isBehind' | 'match' | 'confirm'>
  log: Log
}): Matcher {
  const { gate, webhookCache, log } = deps
  const webhooksOf = ({ tenant, target, messages }: MessageRecord) =>
    messages.map(({ event }) => (target === undefined ? webhookCache.match(tenant, event) : [target]))
  const match = (records: readonly MessageRecord[]): Match | null => {
    const { cursor } = webhookCache
    if (!gate.isOpen) return null // mutation: stored-match-before-open
    if (cursor === null || webhookCache.isBehind) return null // mutation: stored-match-behind
    const webhooks = records.map(webhooksOf)
    const count = webhooks.flat().reduce((sum, { length }) => sum + length, 0)
    return count > maxWebhooks ? null : { webhooks, matched_at: webhookCache.checkpoint!, cursor }
  }
  return {
    match(records) {
      try {
        return match(records)
      } catch (error) {
        // The consumer of the record will find the faulty message, and quarantine the record. The other records must be accepted.
        log.warn({ error }, 'routing.match_failed')
        return null
      }
    },
    confirm: ({ cursor }, at) => webhookCache.confirm(cursor as ChangeCursor, at),
  }
}
