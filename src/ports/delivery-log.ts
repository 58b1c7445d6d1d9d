import type { DeliveryStatus, FactType } from '../events/delivery.ts'
import type { DeliveryId, EventId, TenantId, WebhookId } from '../events/ids.ts'
import type { DeliveryRef, MessageRef } from '../events/refs.ts'

/** Names one delivery and where it stands in its webhook's history. */
export type DeliveryKey = Pick<DeliveryRef, 'webhook' | 'accepted_at' | 'delivery'>
/** One stored event, as a fact about one delivery (a MessageRouted is one fact for each of its webhooks). */
export interface DeliveryFact extends DeliveryRef {
  readonly type: FactType
  readonly event_id: EventId
  /** The event's recorded time. */
  readonly time: string
  readonly code: number | null
  readonly duration_ms: number | null
  readonly reason: string | null
  /** The beginning of the answer, sealed (text), or null. */
  readonly response: string | null
  /** To the next attempt, on DeliveryFailed. */
  readonly delay_seconds: number | null
}
export interface Attempt {
  readonly event_id: EventId
  readonly chain: number
  readonly attempt: number
  readonly type: FactType
  readonly time: string
  readonly code: number | null
  readonly duration_ms: number | null
  readonly reason: string | null
  readonly response: string | null
}
/** Of ids and times, by their characters alone. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
/** The order in which attempts are listed. */
export const oldestFirst = (a: Attempt, b: Attempt): number =>
  byText(a.time, b.time) || a.chain - b.chain || a.attempt - b.attempt || byText(a.event_id, b.event_id)

/** The state of a delivery: the greatest (chain, finality, attempt) of its facts; of twins, the one with the greater event id. */
export interface Delivery extends DeliveryRef {
  readonly type: FactType
  readonly status: DeliveryStatus
  /** Time of that fact. */
  readonly time: string
  readonly code: number | null
  readonly reason: string | null
  /** Recorded time + delay while retrying, else null. */
  readonly next_attempt_at: string | null
}
/** A delivery of a list. */
export interface ListedDelivery extends Delivery {
  /** The request that brought it into its state, or null where that was none; engines that would have to look for it leave it out. */
  readonly request?: Attempt | null
}
/** History is ordered by (accepted_at, delivery), newest first; a cursor is the last row's key. */
export interface HistoryCursor {
  readonly at: string
  readonly delivery: DeliveryId
}
export interface HistoryQuery {
  readonly tenant: TenantId
  readonly status?: DeliveryStatus
  /** By accepted_at, inclusive; RFC 3339. */
  readonly since?: string
  /** By accepted_at, exclusive. */
  readonly until?: string
  readonly after?: HistoryCursor
  readonly limit: number
}

/** The sealed body of a message, and the reference that it is archived under. */
export interface ArchivedBody extends MessageRef {
  readonly sealedBody: Buffer
}
/**
 * The bodies of messages, sealed as `Message.sealedBody` is: a source of truth for the retention time, never rebuilt. The
 * fingerprint is part of the key, so that other content under the same id never overwrites what retries send.
 */
export interface BodyArchive {
  /** Idempotent; durable once it has resolved. It does nothing where the rows of the bus are the archive. */
  archive(bodies: readonly ArchivedBody[]): Promise<void>
  /** Returns the sealed bodies in the order of the messages; null for one that has expired. */
  bodies(messages: readonly MessageRef[]): Promise<(Buffer | null)[]>
}
/** What the history of deliveries is asked for. Reads may be behind the events, never ahead of them. */
export interface DeliveryReads {
  /** States, in the order of the keys; null when unknown. */
  states(keys: readonly DeliveryKey[]): Promise<(Delivery | null)[]>
  /** One delivery of the tenant by its id alone, or null. */
  find(tenant: TenantId, delivery: DeliveryId): Promise<Delivery | null>
  /**
   * The attempts of each delivery, oldest first (time, then chain and attempt), at most 100 each (the newest). In the order of the keys.
   * Whoever gives deliveries of a list as they came saves a look for what they say already.
   */
  attempts(keys: readonly (DeliveryKey & Pick<ListedDelivery, 'request'>)[]): Promise<Attempt[][]>
  /** A webhook's deliveries, newest first. */
  history(webhook: WebhookId, query: HistoryQuery): Promise<ListedDelivery[]>
  /** Deliveries whose state is a dead letter, newest first by the time they died (`since` and the cursor's `at` mean that time), of one webhook, of a list of them, or of all the tenant's. */
  deadLetters(query: {
    tenant: TenantId
    webhooks?: readonly WebhookId[]
    since?: string
    after?: HistoryCursor
    limit: number
  }): Promise<ListedDelivery[]>
}
/**
 * The history of deliveries, made of facts: they are written idempotently and may come in any order, late or twice, with
 * one result. What has resolved is durable.
 */
export interface DeliveryHistory extends DeliveryReads {
  /** Statuses and attempts of a batch of facts. A fact that can't be stored fails the call as FactRefused, which names it. */
  record(facts: readonly DeliveryFact[]): Promise<void>
}

/**
 * Body archive and delivery history. Everything expires with the retention.
 *
 * The history can be built anew beside the one that is read: it stands in generations, from 1, that know nothing of one
 * another. The archive is part of none.
 */
export interface DeliveryLog extends BodyArchive {
  readonly identity: string
  /**
   * A generation, opened without asking whether it is there: where it was never made or has been dropped its calls fail, so
   * that nobody takes an empty history for the one that was.
   */
  generation(generation: number): DeliveryHistory
  /** Makes an empty generation; one that is there stays as it is. Numbers of dropped ones do not come again. */
  makeGeneration(generation: number): Promise<void>
  /** Drops a generation with all that is in it; idempotent. May fail where it is in use, to be called again. */
  dropGeneration(generation: number): Promise<void>
  /** Finishes what is under way. */
  close(): Promise<void>
}

export class FactRefused extends Error {
  readonly code = 'fact_refused'
  readonly event_id: EventId
  constructor(event_id: EventId, cause: unknown) {
    super(`the delivery log cannot store event ${event_id}`, { cause })
    this.event_id = event_id
  }
}
