import type { NewEvent, RecordedEvent } from './envelope.ts'
import type { FieldsOf } from './fields.ts'
import type { EventId, WebhookId } from './ids.ts'
import type { DeliveryEventRef, MessageRef } from './refs.ts'

/** The data that every event about a delivery carries. */
export interface DeliveryData extends DeliveryEventRef {
  /** The webhook's revision in the dispatcher's cache at the moment of the attempt, or null when the cache had none. */
  readonly webhook_revision: number | null
}
/** What one HTTP request of a delivery came to. */
export interface Outcome {
  /** The HTTP status, or null when no whole head of an answer came. */
  code: number | null
  duration_ms: number
  /** A stable word for why it was not a success, or null. */
  reason: string | null
  /** The first 4 KiB of the answer, base64 (sealed when stored); null when there was none. */
  response: string | null
}

export interface DeliveryEvents {
  /** In parts of 5,000 webhooks, numbered from 0; also when nothing matched (one part, no webhooks). */
  MessageRouted: MessageRef & {
    source: string | null
    event_time: string | null
    webhooks: WebhookId[]
    part: number
    parts: number
    /** The checkpoint of the projection `webhooks` that it was matched at. */
    matched_at: string
  }
  /** The id had been used for other content. */
  MessageRejected: MessageRef & { reason: 'content_differs' }
  DeliverySucceeded: DeliveryData & Outcome
  /** A failed attempt carries a delay, not a time: due = Postgres's now + delay when the retry manager writes the row. */
  DeliveryFailed: DeliveryData & Outcome & { delay_seconds: number }
  DeliveryDeadLettered: DeliveryData & Outcome
  /** The webhook was deleted or inactive. */
  DeliveryDiscarded: DeliveryData & { reason: 'webhook_deleted' | 'webhook_inactive' }
  DeliveryReplayed: DeliveryData
}
export const deliveryEventFields = {
  tenant: 'clear',
  message: 'clear',
  place: 'clear',
  fingerprint: 'clear',
  event: 'clear',
  accepted_at: 'clear',
  source: 'clear',
  event_time: 'clear',
  webhooks: 'clear',
  part: 'clear',
  parts: 'clear',
  matched_at: 'clear',
  webhook: 'clear',
  webhook_revision: 'clear',
  delivery: 'clear',
  chain: 'clear',
  attempt: 'clear',
  code: 'clear',
  duration_ms: 'clear',
  reason: 'clear',
  response: 'sealed',
  delay_seconds: 'clear',
} as const satisfies FieldsOf<DeliveryEvents>
export type RoutingEventType = 'MessageRouted' | 'MessageRejected'
export type AttemptEventType = Exclude<keyof DeliveryEvents, RoutingEventType>
export type DeliveryEvent = { [T in keyof DeliveryEvents]: NewEvent<T, DeliveryEvents[T]> }[keyof DeliveryEvents]
export type RecordedDeliveryEvent = { [T in keyof DeliveryEvents]: RecordedEvent<T, DeliveryEvents[T]> }[keyof DeliveryEvents]

/** Webhooks in one MessageRouted: a fan-out beyond that is appended in parts. */
export const webhooksPerPart = 5_000

/**
 * The order of the facts of one delivery: chain, then finality, then attempt. Its status is the greatest, whatever the
 * order in which facts arrive (design: success absorbs within its chain).
 */
export const finality = {
  MessageRouted: 0,
  DeliveryReplayed: 0,
  DeliveryFailed: 1,
  DeliveryDiscarded: 2,
  DeliveryDeadLettered: 2,
  DeliverySucceeded: 3,
} as const
export type FactType = keyof typeof finality
export const statusOf = {
  MessageRouted: 'pending',
  DeliveryReplayed: 'pending',
  DeliveryFailed: 'retrying',
  DeliveryDiscarded: 'discarded',
  DeliveryDeadLettered: 'failed',
  DeliverySucceeded: 'success',
} as const satisfies Record<FactType, string>
export type DeliveryStatus = (typeof statusOf)[FactType]
/** Whether a fact tells of a request (or of its refusal), which the history lists. */
export const isRequest = (type: FactType): boolean =>
  type === 'DeliverySucceeded' || type === 'DeliveryFailed' || type === 'DeliveryDeadLettered'
/** The order of the facts of one delivery; twins (two requests of one chain and attempt) by their event ids, so that it is total. */
export function isGreaterFact(a: FactOrder, b: FactOrder): boolean {
  if (a.chain !== b.chain) return a.chain > b.chain
  if (finality[a.type] !== finality[b.type]) return finality[a.type] > finality[b.type]
  if (a.attempt !== b.attempt) return a.attempt > b.attempt
  return a.event_id > b.event_id
}
interface FactOrder {
  readonly chain: number
  readonly type: FactType
  readonly attempt: number
  readonly event_id: EventId
}
/** Whether a fact ends its chain. */
export const endsChain = (type: FactType): boolean => finality[type] >= 2
