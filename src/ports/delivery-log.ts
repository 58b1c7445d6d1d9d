import type { DeliveryStatus, FactType } from '../events/delivery.ts'
import type { DeliveryFact } from '../events/delivery-facts.ts'
import type { DeliveryId, EventId, TenantId, WebhookId } from '../events/ids.ts'
import type { DeliveryRef, MessageRef } from '../events/refs.ts'

export type { DeliveryFact }

/** Identifies a delivery, and tells where it stands in the history of its webhook, which is ordered by accepted_at and delivery. */
export type DeliveryKey = Pick<DeliveryRef, 'webhook' | 'accepted_at' | 'delivery'>
export type Attempt = Pick<
  DeliveryFact,
  'event_id' | 'chain' | 'attempt' | 'type' | 'time' | 'code' | 'duration_ms' | 'reason' | 'reason_detail' | 'response'
>
/** Compares ids or times by their characters, independently of the locale. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
/** Compares attempts in the order in which they are listed. */
export const oldestFirst = (a: Attempt, b: Attempt): number =>
  byText(a.time, b.time) || a.chain - b.chain || a.attempt - b.attempt || byText(a.event_id, b.event_id)

/**
 * The state of a delivery, which its greatest fact determines. Facts are compared by their chain, then by the finality of their type, then by attempt
 * and event id (`isGreaterFact`).
 */
export interface Delivery extends DeliveryRef {
  readonly type: FactType
  readonly status: DeliveryStatus
  /** Time of the greatest fact. */
  readonly time: string
  readonly code: number | null
  readonly reason: string | null
  /** RFC 3339 time at which the next attempt is due, if the status is `retrying`, or else null. */
  readonly next_attempt_at: string | null
}
/** A delivery in a list. */
export interface ListedDelivery extends Delivery {
  /**
   * The request that brought the delivery into its state, or null when no request did. The field is absent on engines that would need another query
   * for it.
   */
  readonly request?: Attempt | null
}
/** The key of the last row of a page. The history is ordered by (accepted_at, delivery), newest first. */
export interface HistoryCursor {
  readonly at: string
  readonly delivery: DeliveryId
}
/** Conditions on the event of a delivery and on the result of its last attempt. */
export interface ResultFilter {
  /** The name of the event. */
  readonly event?: string
  readonly reason?: string
  /** The HTTP status of the response. */
  readonly code?: number
}
export interface HistoryQuery extends ResultFilter {
  readonly tenant: TenantId
  readonly status?: DeliveryStatus
  /** Lowest accepted_at (RFC 3339), inclusive. */
  readonly since?: string
  /** Highest accepted_at (RFC 3339), exclusive. */
  readonly until?: string
  readonly after?: HistoryCursor
  readonly limit: number
}

/** A delivery that has not arrived yet, or that never will. */
export type UndeliveredStatus = Exclude<DeliveryStatus, 'success'>
export interface UndeliveredQuery extends Omit<HistoryQuery, 'status'> {
  readonly status: UndeliveredStatus
  /** If set, only deliveries to these webhooks are returned. */
  readonly webhooks?: readonly WebhookId[]
}
/** `since` and `until` are times at which a delivery became a dead letter, and so is `at` in the cursor `after`. */
export interface DeadLettersQuery extends Omit<HistoryQuery, 'status'> {
  /** If set, only deliveries to these webhooks are returned. */
  readonly webhooks?: readonly WebhookId[]
}
/** Dead letters of one webhook that have the event name and the result in common. */
export interface DeadLetterGroup {
  readonly webhook: WebhookId
  readonly event: string
  readonly code: number | null
  readonly reason: string | null
  readonly count: number
  /** The times at which the first and the last of them became dead letters. */
  readonly first_at: string
  readonly last_at: string
  /** The times at which the oldest and the newest of their messages were accepted. */
  readonly first_accepted_at: string
  readonly last_accepted_at: string
  /** The latest of the dead letters. */
  readonly sample: DeliveryId
}

/** The sealed body of a message, and the reference under which it is archived. */
export interface ArchivedBody extends MessageRef {
  readonly sealedBody: Buffer
}
/**
 * The sealed bodies of messages (`Message.sealedBody`). They are a source of truth for the retention time and are never rebuilt. The fingerprint is
 * part of the key, so that a message with the same id and other content never overwrites the body that retries send.
 */
export interface BodyArchive {
  /**
   * Archives bodies, which are durable when this resolves. A repetition changes nothing. If bus and delivery log are both on Postgres, this does
   * nothing, because that bus keeps its records for the retention time, and they are the archive.
   */
  archive(bodies: readonly ArchivedBody[]): Promise<void>
  /**
   * Returns the sealed bodies in the order of the messages, with null for a body that has expired, and an empty buffer for one that was erased. A
   * sealed body itself is never empty.
   */
  bodies(messages: readonly MessageRef[]): Promise<(Buffer | null)[]>
  /**
   * Erases bodies, which is durable when this resolves. Until the retention ends, an empty body takes the place of each, so that a later `archive` of
   * the same message does not bring its body back. If the records of the bus are the archive, this does nothing: `MessageBus.eraseBodies` erases them.
   */
  erase(messages: readonly MessageRef[]): Promise<void>
}

/** The queries of the history of deliveries. Their results may be behind the events, but never ahead of them. */
export interface DeliveryReads {
  /** Returns the states in the order of the keys, with null for an unknown delivery. */
  states(keys: readonly DeliveryKey[]): Promise<(Delivery | null)[]>
  /** Returns a delivery of the tenant by its id alone, or null. */
  find(tenant: TenantId, delivery: DeliveryId): Promise<Delivery | null>
  /**
   * Returns the newest 100 attempts of each delivery, oldest first (by time, chain and attempt), in the order of the keys.
   * Pass deliveries exactly as a list returned them (with `request`) to save a query.
   */
  attempts(keys: readonly (DeliveryKey & Pick<ListedDelivery, 'request'>)[]): Promise<Attempt[][]>
  /** Returns a webhook's deliveries, newest first. */
  history(webhook: WebhookId, query: HistoryQuery): Promise<ListedDelivery[]>
  /** Returns the deliveries of the tenant that have a status other than `success`, newest first. */
  undelivered(query: UndeliveredQuery): Promise<ListedDelivery[]>
  /** Returns the dead letters of the tenant. They are ordered by the time at which the delivery became a dead letter, newest first. */
  deadLetters(query: DeadLettersQuery): Promise<ListedDelivery[]>
  /** Groups the `limit` newest dead letters of the tenant. The largest group comes first. */
  deadLetterGroups(query: DeadLettersQuery): Promise<DeadLetterGroup[]>
  /**
   * Returns the number of dead letters of these tenants, counted up to `limit`. An engine has this function if it can count them without reading the
   * state of each delivery.
   */
  countDeadLetters?(tenants: readonly TenantId[], limit: number): Promise<number>
}
/** The history of deliveries, which is built from facts. Facts may arrive in any order, late or twice, and the result is always the same. */
export interface DeliveryHistory extends DeliveryReads {
  /**
   * Writes a batch of facts, which are durable when this resolves. A log that reads the events of the store leaves out facts that are `in_history`.
   * Throws FactRefused, which names a fact that cannot be stored.
   */
  record(facts: readonly DeliveryFact[]): Promise<void>
}

/**
 * The body archive and the delivery history. Everything expires with the retention.
 *
 * The history can be built again while readers use the live build. Its builds are numbered from 1 and share no rows. The archive belongs to no build.
 */
export interface DeliveryLog extends BodyArchive {
  readonly identity: string
  /**
   * Returns a build of the history, without checking whether it exists. If the build does not exist, its calls fail, because an empty result would
   * look like a history without deliveries.
   */
  historyOf(build: number): DeliveryHistory
  /** Makes an empty build, or leaves an existing one as it is. The number of a dropped build is never used again. */
  makeBuild(build: number): Promise<void>
  /** Drops a build with all its rows. A repetition changes nothing. The call may fail while the build is in use; call it again then. */
  dropBuild(build: number): Promise<void>
  /** Waits for the calls in flight. */
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
