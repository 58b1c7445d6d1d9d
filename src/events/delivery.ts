import type { RecordedEvent } from './envelope.ts'
import type { FieldsOf } from './fields.ts'
import type { EventId, WebhookId } from './ids.ts'
import type { DeliveryEventRef, MessageRef, Producer } from './refs.ts'

/** The data that every event about a delivery carries. */
export interface DeliveryData extends DeliveryEventRef {
  /** The webhook's revision in the dispatcher's cache at the moment of the attempt, or null when the cache had none. */
  readonly webhook_revision: number | null
}
/** The most bytes of a response that an event keeps. */
export const keptResponseBytes = 4 * 1024
/** The end of one attempt of a delivery. */
export interface Outcome {
  /** The HTTP status, or null when none could be read. */
  code: number | null
  duration_ms: number
  /** The address to which the request was sent. Null if no connection was made, and in the events of version 0.2. */
  address: string | null
  /** A stable word for the reason of the failure, or null. */
  reason: string | null
  /** A sentence by Kolbak that says what was wrong, if there is no status. It never quotes a response, because responses are sealed. */
  reason_detail?: string
  /** The first 4 KiB of the response in base64 (sealed when stored), or null without a response. */
  response: string | null
  /** Some header fields of the response as JSON (sealed when stored). Absent for most successes (decision 59). */
  response_headers?: string
  /** The milliseconds of the steps of a request on a new connection. Absent if the connection had been used before. */
  timings?: { dns_ms: number | null; connect_ms: number; tls_ms: number | null; first_byte_ms: number | null }
  /** RFC 3339 time since which the delivery waited for a free slot. Absent if it hardly waited. */
  waited_since?: string
}

/** A message in a MessagesRouted. The event's metadata names its tenant. */
export interface RoutedMessage extends Omit<MessageRef, 'tenant'> {
  /** Absent if the producer sent none. */
  readonly source?: string
  readonly event_time?: string
  readonly correlation_id: string
  readonly webhooks: WebhookId[]
  readonly producer?: Producer
}

export interface DeliveryEvents {
  /** The webhooks come in parts of 5,000, numbered from 0. A message that matched no webhook has one part without webhooks. */
  MessageRouted: MessageRef & {
    source: string | null
    event_time: string | null
    webhooks: WebhookId[]
    part: number
    parts: number
    /** The checkpoint of the projection `webhooks` at which the message was matched. */
    matched_at: string
    /** The client that posted the message. Absent for messages that version 0.2 accepted. */
    producer?: Producer
  }
  /**
   * Messages of one tenant that one process has routed at nearly the same time. Under load they share an event, because an event costs more than a
   * message in it (decision 53). Each message is in a MessageRouted or in one of these, and a repeated routing always writes a MessageRouted.
   */
  MessagesRouted: {
    messages: RoutedMessage[]
    /** The checkpoint of the projection `webhooks` at which all of them were matched. */
    matched_at: string
  }
  /** A message with the same id and other content had been posted before. */
  MessageRejected: MessageRef & { reason: 'content_differs' }
  DeliverySucceeded: DeliveryData & Outcome
  /** The event holds a delay and no due time. The projection `deliveries` adds the delay to Postgres's clock when it writes the scheduled row. */
  DeliveryFailed: DeliveryData & Outcome & { delay_seconds: number }
  DeliveryDeadLettered: DeliveryData & Outcome
  /** The webhook was deleted or inactive, so no request was made. */
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
  messages: 'clear',
  producer: 'clear',
  webhook: 'clear',
  webhook_revision: 'clear',
  delivery: 'clear',
  chain: 'clear',
  attempt: 'clear',
  code: 'clear',
  duration_ms: 'clear',
  address: 'clear',
  reason: 'clear',
  reason_detail: 'clear',
  response: 'sealed',
  response_headers: 'sealed',
  timings: 'clear',
  waited_since: 'clear',
  delay_seconds: 'clear',
} as const satisfies FieldsOf<DeliveryEvents>
type RoutingEventType = 'MessageRouted' | 'MessagesRouted' | 'MessageRejected'
export type AttemptEventType = Exclude<keyof DeliveryEvents, RoutingEventType>
export type RecordedDeliveryEvent = { [T in keyof DeliveryEvents]: RecordedEvent<T, DeliveryEvents[T]> }[keyof DeliveryEvents]

/** The most webhooks in one MessageRouted. A larger fan-out is appended in parts. */
export const webhooksPerPart = 5_000

/**
 * The facts of one delivery are ordered by chain, then finality, then attempt. The greatest fact gives the delivery its status, in whatever order the
 * facts arrive. So within a chain, a success wins over every other fact.
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
/** Returns whether the history lists a fact as an attempt. A dead letter is listed even if it ended without a request. */
export const isListedAttempt = (type: FactType): boolean =>
  type === 'DeliverySucceeded' || type === 'DeliveryFailed' || type === 'DeliveryDeadLettered'
/** Compares two facts of one delivery. If the same attempt was made twice, the event ids decide, so that the order is total. */
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
/** Returns whether a fact ends its chain. */
export const endsChain = (type: FactType): boolean => finality[type] >= 2
