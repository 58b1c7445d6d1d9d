import type { Checkpoint } from '../../src/events/envelope.ts'
import type { DeliveryId, TenantId, WebhookId } from '../../src/events/ids.ts'
import type { DeliveryRef, MessageRef } from '../../src/events/refs.ts'
import type { IndexedMessage } from '../../src/projections/message-index.ts'
import type { ChangedWebhook } from '../../src/projections/webhooks.ts'

/** A row of `scheduled_deliveries`. Times are virtual milliseconds. */
export interface ScheduledRow extends DeliveryRef {
  readonly dueAt: number | null
  readonly parked_at: number | null
  claimedBy: string | null
  claimedUntil: number | null
}
/** A row of `projections`. */
export interface BuildRow {
  readonly build: 1
  readonly is_live: true
  checkpoint: Checkpoint | null
  lifted: number
  readonly applied_to: null
}
export interface WebhookModelRow extends ChangedWebhook {
  readonly position: Checkpoint
}

/** The tables of the dispatcher and its projections. */
export interface Tables {
  readonly index: Map<string, IndexedMessage>
  readonly scheduled: Map<DeliveryId, ScheduledRow>
  readonly offsets: Map<number, bigint>
  readonly quarantinedRecords: Set<string>
  readonly rejections: Map<string, MessageRef>
  readonly projections: Map<string, BuildRow>
  /** The position of the last change of a webhook that was acknowledged before the read model had it, or null. */
  acknowledged: Checkpoint | null
  readonly webhooks: Map<WebhookId, WebhookModelRow>
  readonly tenants: Map<TenantId, { is_suspended: boolean; position: Checkpoint }>
  readonly quarantinedStreams: string[]
}
const build = (): BuildRow => ({ build: 1, is_live: true, checkpoint: null, lifted: 0, applied_to: null })
export const emptyTables = (): Tables => ({
  index: new Map(),
  scheduled: new Map(),
  offsets: new Map(),
  quarantinedRecords: new Set(),
  rejections: new Map(),
  acknowledged: null,
  projections: new Map(['webhooks', 'deliveries', 'endpoint_manager', 'erasure_manager'].map((name) => [name, build()])),
  webhooks: new Map(),
  tenants: new Map(),
  quarantinedStreams: [],
})
export const indexKey = (tenant: string, message: string) => `${tenant}/${message}`
