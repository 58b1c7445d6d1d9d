/*
 * The data in the responses of the API that the dashboard reads. The handlers return these types, and the dashboard imports them, so they are
 * declared once. The file imports nothing, because the dashboard is checked without the types of Node. Times are RFC 3339 in UTC.
 */

export interface Me {
  /** `client` or `key`. */
  readonly kind: string
  readonly id: string
  readonly name: string | null
  readonly tenant: { readonly id: string; readonly name: string | null }
  readonly scopes: readonly string[]
  readonly limits: { readonly webhooks: number; readonly events_per_second: number; readonly requests_per_second: number }
  readonly retention_days: number
  readonly version: string
}
export interface Webhook {
  readonly id: string
  readonly callback_url: string
  readonly event: string
  readonly description: string | null
  readonly is_active: boolean
  readonly key_id: string | null
  readonly retry_delays: readonly number[] | null
  readonly deactivation_reason: 'requested' | 'gone' | 'failing' | 'key_deleted' | null
  readonly failing_since: string | null
  readonly created_at: string
  readonly updated_at: string
  /** The secret is present only in the responses to creation and rotation. */
  readonly secret?: string
  readonly previous_secret_until?: string | null
}
export interface Attempt {
  readonly number: number
  readonly chain: number
  readonly at: string
  readonly status: 'success' | 'failed'
  readonly response_code: number | null
  readonly duration_ms: number | null
  readonly reason: string | null
  readonly reason_detail: string | null
  readonly response_body: string | null
  readonly response_truncated: boolean
}
/** The steps of a delivery that its history does not contain. */
export interface Timeline {
  readonly accepted_at: string
  readonly routed_at: string | null
  readonly attempts: readonly TimelineAttempt[]
}
export interface TimelineAttempt {
  readonly number: number
  readonly chain: number
  readonly at: string
  readonly waited: { readonly since: string; readonly ms: number; readonly reason: 'slot' | 'suspended' } | null
  readonly timings: {
    readonly dns_ms: number | null
    readonly connect_ms: number
    readonly tls_ms: number | null
    readonly first_byte_ms: number | null
  } | null
  readonly response_headers: Readonly<Record<string, string>> | null
  readonly webhook_revision: number | null
}
export type DeliveryStatus = 'pending' | 'retrying' | 'success' | 'failed' | 'discarded'
export interface Delivery {
  readonly id: string
  readonly event_id: string
  readonly webhook_id: string
  readonly event: string
  readonly status: DeliveryStatus
  readonly chain: number
  readonly attempt_count: number
  readonly next_attempt_at: string | null
  readonly last_response_code: number | null
  readonly last_reason: string | null
  readonly accepted_at: string
  readonly expires_at: string
  readonly attempts: readonly Attempt[]
}
/** Dead letters that have the webhook, the event name and the result in common. */
export interface Problem {
  readonly webhook_id: string
  readonly event: string
  readonly code: number | null
  readonly reason: string | null
  readonly count: number
  /** The times at which the first and the last of them ended. */
  readonly first_at: string
  readonly last_at: string
  /** The time at which the oldest of their events was accepted. */
  readonly first_accepted_at: string
  /** The id of the delivery that ended last. */
  readonly sample: string
}
export interface Problems {
  readonly count: number
  readonly is_complete: boolean
  readonly groups: readonly Problem[]
}
/** The effect that a replay would have. */
export interface ReplayPreview {
  readonly count: number
  /** False if only the first 10,000 deliveries were counted. */
  readonly is_complete: boolean
  readonly without_payload: number
  /** The times at which the oldest and the newest message were accepted, or null without deliveries. */
  readonly oldest: string | null
  readonly newest: string | null
  /** The number of webhooks that have such deliveries. */
  readonly webhooks: number
}
export interface DeliveryCounts {
  readonly total: number
  readonly pending: number
  readonly retrying: number
  readonly success: number
  readonly failed: number
  readonly discarded: number
}
export interface ListedEvent {
  readonly id: string
  readonly event: string
  readonly status: 'routed' | 'unmatched'
  readonly deliveries: DeliveryCounts | null
  readonly has_rejections: boolean
  readonly accepted_at: string
  readonly expires_at: string
}
export interface EventDetail extends ListedEvent {
  readonly event_time: string | null
  readonly source: string | null
  readonly rejections: readonly { readonly accepted_at: string; readonly reason: string }[]
  /** Why there is no payload, or null while there is one. */
  readonly payload_reason: string | null
}
export interface Explanation {
  readonly event_id: string
  readonly event: string
  readonly accepted_at: string
  readonly webhook_id: string
  readonly matched: boolean
  readonly reason: string
  readonly explanation: string
  readonly webhook_then: {
    readonly revision: number
    readonly event: string
    readonly is_active: boolean
    readonly callback_url: string
  } | null
  readonly delivery: Delivery | null
  readonly next: string
}
export interface Job {
  readonly id: string
  readonly type: 'replay'
  readonly webhook_id: string
  readonly status: 'running' | 'completed' | 'cancelled' | 'failed'
  readonly reason: string | null
  readonly since: string
  readonly until: string
  readonly delivery_status: DeliveryStatus | null
  readonly delivery_event: string | null
  readonly delivery_reason: string | null
  readonly delivery_code: number | null
  /** The number of deliveries when the job was started, or null if they were too many to count. */
  readonly expected: number | null
  readonly replayed: number
  readonly skipped: number
  readonly created_at: string
  readonly updated_at: string
  readonly finished_at: string | null
}
export interface StartedReplays {
  readonly jobs: readonly Job[]
  readonly skipped: readonly { readonly webhook_id: string; readonly reason: 'webhook_inactive' | 'replay_running' }[]
}
/** The author of an event, in the form shown to auditors. */
export interface NamedActor {
  readonly kind: string
  readonly id: string
  /** The name that the actor had at that time, or null for parts of Kolbak and for actors of another tenant. */
  readonly name: string | null
}
export interface Version {
  readonly revision: number
  readonly type: string
  readonly time: string
  readonly actor: NamedActor
  readonly correlation_id: string
  readonly changes: Readonly<Record<string, { readonly from: unknown; readonly to: unknown }>>
}
/** An event of the audit log. It is a type and not an interface, because its fields are also read by their names. */
export type AuditedEvent = {
  readonly index: number
  readonly event_id: string
  readonly time: string | null
  readonly family: string
  readonly id: string
  readonly revision: number
  readonly type: string
  readonly actor: NamedActor
  readonly correlation_id: string | null
  /** Why the event is not what Kolbak has written: `forged`, `altered` or `not_readable`. */
  readonly fault?: string
  readonly metadata: { readonly reason: string | null; readonly operation: string | null; readonly request_id: string | null }
  readonly data: object
}
export interface Key {
  readonly id: string
  /** The value, which is masked if the caller lacks a scope of the key. */
  readonly key: string
  readonly name: string
  readonly description: string | null
  readonly scopes: readonly string[]
  readonly last_accessed_at: string | null
  readonly created_at: string
}
export interface Tenant {
  readonly id: string
  readonly name: string
  /** The limits, of which null stands for the default. */
  readonly limits: Readonly<Record<'webhooks' | 'events_per_second' | 'requests_per_second', number | null>>
  readonly is_suspended: boolean
  readonly hold: { readonly reason: string; readonly until: string | null } | null
  readonly erased_at: string | null
  readonly created_at: string
}
export interface Client {
  readonly client_id: string
  readonly name: string
  readonly scopes: readonly string[]
  readonly created_at: string
  /** The secret is present only in the response to creation and rotation. */
  readonly client_secret?: string
  readonly previous_secret_until: string | null
}
/** The request of an attempt. */
export interface SentRequest {
  readonly method: 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** The body exactly as it was sent, or null after it has expired. */
  readonly body: string | null
  readonly webhook_revision: number
  /** False if the webhook may have been at the revision before. */
  readonly is_certain: boolean
  /** Null if the webhook was deleted. */
  readonly present_revision: number | null
}
/** An attempt or another event of a delivery, in a live stream. */
export interface LiveDelivery {
  readonly id: string
  readonly event_id: string
  readonly webhook_id: string
  readonly event: string
  readonly status: DeliveryStatus
  readonly chain: number
  readonly attempt: number
  readonly at: string
  readonly accepted_at: string
  readonly response_code: number | null
  readonly duration_ms: number | null
  readonly reason: string | null
  readonly delay_seconds: number | null
}
/** An event that a producer posted, in a live stream. */
export interface LiveEvent {
  readonly id: string
  readonly event: string
  readonly status: 'routed' | 'unmatched' | 'rejected'
  readonly webhook_count: number
  readonly accepted_at: string
  readonly at: string
}

/** The state of the whole service. Times are RFC 3339. Numbers of rows are counted up to a limit (`service/backlog.ts`). */
export interface OperationsReport {
  readonly version: string
  /** One check for each part of the process that responds. `message` describes its state. */
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly message?: string }[]
  readonly processes: readonly {
    readonly id: string
    readonly roles: readonly string[]
    readonly started_at: string
    readonly seen_at: string
  }[]
  readonly engines: readonly { readonly port: string; readonly identity: string; readonly since: string }[]
  readonly bus: {
    readonly unread: number
    readonly oldest_record_seconds: number
    /** The number of records that were ever stored, and of those that are done. Their growth shows whether the service catches up. */
    readonly produced: number
    readonly done: number
    readonly partitions: readonly { readonly partition: number; readonly unread: number }[]
  }
  readonly schedule: {
    readonly retrying: number
    readonly oldest_due_seconds: number
    readonly parked: Readonly<Record<'slot' | 'tenant_suspended', number>>
    readonly most_parked: readonly { readonly tenant_id: string; readonly webhook_id: string; readonly count: number }[]
  }
  readonly dead_letters: number
  readonly webhooks: {
    readonly active: number
    readonly failing: number
    readonly deactivated: Readonly<Record<NonNullable<Webhook['deactivation_reason']>, number>>
  }
  readonly projections: readonly {
    readonly name: string
    readonly build: number
    readonly version: number
    readonly is_live: boolean
    /** Null if another process runs the projection. */
    readonly state: string | null
    readonly error: string | null
    readonly lag_seconds: number | null
    readonly quarantined: number
    readonly updated_at: string
  }[]
  readonly quarantined_streams: readonly {
    readonly projection: string
    readonly stream: string
    readonly revision: number
    readonly error: string
    readonly since: string
  }[]
  readonly leases: readonly { readonly name: string; readonly owner: string; readonly until: string }[]
  readonly running_jobs: number
  readonly database_bytes: number
  /** The replication slots of the server. A slot without a reader keeps its log, which fills the disk. */
  readonly replication_slots: readonly { readonly name: string; readonly is_active: boolean; readonly retained_bytes: number }[]
  /** The file system of the data folder, or null if the process has no such folder. */
  readonly disk: { readonly total_bytes: number; readonly free_bytes: number } | null
  /** The last backup by `operate backup`, or null if there was none. */
  readonly last_backup: { readonly made_at: string; readonly age_seconds: number; readonly bytes: number; readonly rows: number } | null
  readonly retention_days: number
}

export interface Page<T> {
  readonly data: readonly T[]
  readonly pagination: {
    readonly limit: number
    readonly next_cursor?: string | null
    readonly offset?: number
    readonly total?: number
  } | null
}
/** A response in the envelope of the API. */
export interface Envelope<T> {
  readonly data: T
}

/** Counts of a span of time, or of a whole range. */
export interface StatisticsCounts {
  /** Null in the counts of single webhooks and of an API key. */
  readonly accepted: number | null
  readonly success: number
  readonly retrying: number
  readonly failed: number
  readonly discarded: number
  readonly replayed: number
  readonly http_2xx: number
  readonly http_3xx: number
  readonly http_4xx: number
  readonly http_5xx: number
  readonly no_response: number
  /** Null without requests, like the two below. */
  readonly p50_ms: number | null
  readonly p95_ms: number | null
  readonly p99_ms: number | null
}
export interface StatisticsSpan extends StatisticsCounts {
  readonly at: string
}
interface StatisticsSeries {
  readonly totals: StatisticsCounts
  readonly spans: readonly StatisticsSpan[]
}
export interface DeliveryStatistics extends StatisticsSeries {
  readonly since: string
  readonly until: string
  readonly step_seconds: number
  readonly counted_since: string | null
  readonly webhooks: readonly (StatisticsSeries & { readonly webhook_id: string })[]
}
