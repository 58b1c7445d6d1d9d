import type { DeliveryStatus, FactType } from '../events/delivery.ts'
import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from '../events/ids.ts'

/** Where a payload is found: content is part of the key, so that other content never overwrites what retries send. */
export interface PayloadKey {
  readonly tenant: TenantId
  readonly message: MessageId
  readonly fingerprint: string
  readonly place: Place
  readonly acceptedAt: string
}
/** Names one delivery and where it stands in its webhook's history. */
export interface DeliveryKey {
  readonly webhook: WebhookId
  readonly acceptedAt: string
  readonly delivery: DeliveryId
}
/** One stored event, as a fact about one delivery (a MessageRouted is one fact for each of its webhooks). */
export interface Fact extends DeliveryKey {
  readonly tenant: TenantId
  readonly message: MessageId
  readonly place: Place
  readonly fingerprint: string
  readonly event: string
  readonly correlationId: string
  readonly type: FactType
  readonly chain: number
  readonly attempt: number
  readonly eventId: EventId
  /** The event's recorded time. */
  readonly time: string
  readonly code: number | null
  readonly durationMs: number | null
  readonly reason: string | null
  /** The beginning of the answer, sealed (text), or null. */
  readonly response: string | null
  /** To the next attempt, on DeliveryFailed. */
  readonly delaySeconds: number | null
}
export interface Attempt {
  readonly eventId: EventId
  readonly chain: number
  readonly attempt: number
  readonly type: FactType
  readonly time: string
  readonly code: number | null
  readonly durationMs: number | null
  readonly reason: string | null
  readonly response: string | null
}
/** The state of a delivery: the greatest (chain, finality, attempt) of its facts; of twins, the one with the greater event id. */
export interface Delivery extends DeliveryKey {
  readonly tenant: TenantId
  readonly message: MessageId
  readonly place: Place
  readonly fingerprint: string
  readonly event: string
  readonly correlationId: string
  readonly type: FactType
  readonly status: DeliveryStatus
  readonly chain: number
  readonly attempt: number
  /** Time of that fact. */
  readonly time: string
  readonly code: number | null
  readonly reason: string | null
  /** Recorded time + delay while retrying, else null. */
  readonly nextAttemptAt: string | null
}
/** History is ordered by (acceptedAt, delivery), newest first; a cursor is the last row's key. */
export interface HistoryCursor {
  readonly at: string
  readonly delivery: DeliveryId
}
export interface HistoryQuery {
  readonly tenant: TenantId
  readonly status?: DeliveryStatus
  /** By acceptedAt, inclusive; RFC 3339. */
  readonly since?: string
  /** By acceptedAt, exclusive. */
  readonly until?: string
  readonly after?: HistoryCursor
  readonly limit: number
}

/**
 * Payload archive and delivery history.
 *
 * Writes are idempotent and may come in any order, late or twice, with one result. What has resolved is durable.
 * Reads may be behind the events, never ahead of them. Everything expires with the retention.
 */
export interface DeliveryLog {
  readonly identity: string
  /** Keeps the payloads (sealed: `Message.payload`). Where the bus's own rows are the archive this does nothing. */
  archive(payloads: readonly (PayloadKey & { readonly payload: Buffer })[]): Promise<void>
  /** In the order of the keys; null when it has expired. */
  payloads(keys: readonly PayloadKey[]): Promise<(Buffer | null)[]>
  /** Statuses and attempts of a batch of facts. A fact that can't be stored fails the call as FactRefused, which names it. */
  record(facts: readonly Fact[]): Promise<void>
  /** States, in the order of the keys; null when unknown. */
  states(keys: readonly DeliveryKey[]): Promise<(Delivery | null)[]>
  /** One delivery of the tenant by its id alone, or null. */
  find(tenant: TenantId, delivery: DeliveryId): Promise<Delivery | null>
  /** The attempts of each delivery, oldest first (time, then chain and attempt), at most 100 each (the newest). In the order of the keys. */
  attempts(keys: readonly DeliveryKey[]): Promise<Attempt[][]>
  /** A webhook's deliveries, newest first. */
  history(webhook: WebhookId, query: HistoryQuery): Promise<Delivery[]>
  /** Deliveries whose state is a dead letter, newest first by the time they died (`since` and the cursor's `at` mean that time), of one webhook, of a list of them, or of all the tenant's. */
  deadLetters(query: {
    tenant: TenantId
    webhooks?: readonly WebhookId[]
    since?: string
    after?: HistoryCursor
    limit: number
  }): Promise<Delivery[]>
  close(): Promise<void>
}

export class FactRefused extends Error {
  readonly code = 'fact_refused'
  readonly eventId: EventId
  constructor(eventId: EventId, cause: unknown) {
    super(`the delivery log cannot store event ${eventId}`, { cause })
    this.eventId = eventId
  }
}
