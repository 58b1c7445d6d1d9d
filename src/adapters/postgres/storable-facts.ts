import type { DeliveryFact } from '../../events/delivery-facts.ts'
import { isUuid } from '../../events/uuid.ts'
import { hasTextSeparator } from '../../lib/joined-texts.ts'

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Returns why Postgres would refuse a fact, or why a statement with joined parameters would change it. Returns null if the fact can be stored. */
export function problemOf(fact: DeliveryFact): string | null {
  const texts = [fact.webhook, fact.tenant, fact.message, fact.place, fact.fingerprint, fact.event, fact.correlation_id, fact.type]
  return !isUuid(fact.delivery) || !isUuid(fact.event_id)
    ? 'an id is not a UUID in lower case'
    : !time.test(fact.accepted_at) || !time.test(fact.time)
      ? 'a time is not RFC 3339 with milliseconds in UTC'
      : [fact.chain, fact.attempt, fact.code ?? 0].some((number) => !Number.isInteger(number))
        ? 'a number is not whole'
        : !texts.every((text) => typeof text === 'string')
          ? 'a text is missing'
          : [...texts, fact.reason, fact.reason_detail, fact.response].some((text) => text !== null && hasTextSeparator(text))
            ? 'a text holds a control character'
            : null
}
