/** The resources of the API, as far as the dashboard reads them. Times are RFC 3339 in UTC. */

export interface Me {
  readonly kind: 'client' | 'key'
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
  readonly deactivation_reason: string | null
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
  readonly routed_at: string | null
  readonly attempts: readonly TimelineAttempt[]
}
export interface TimelineAttempt {
  readonly number: number
  readonly chain: number
  readonly waited: { readonly since: string; readonly ms: number; readonly reason: 'slot' | 'suspended' } | null
  readonly timings: {
    readonly dns_ms: number | null
    readonly connect_ms: number
    readonly tls_ms: number | null
    readonly first_byte_ms: number | null
  } | null
  readonly response_headers: Readonly<Record<string, string>> | null
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
  readonly is_complete: boolean
  readonly without_payload: number
  readonly oldest: string | null
  readonly newest: string | null
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
}
export interface Explanation {
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
  readonly finished_at: string | null
}
export interface StartedReplays {
  readonly jobs: readonly Job[]
  readonly skipped: readonly { readonly webhook_id: string; readonly reason: 'webhook_inactive' | 'replay_running' }[]
}
export interface NamedActor {
  readonly kind: string
  readonly id: string
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
