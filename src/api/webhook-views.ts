import { randomBytes } from 'node:crypto'
import type { WebhookState } from '../commands/webhook.ts'
import type { WebhookRow } from '../projections/webhooks.ts'
import type { Identity } from './identity.ts'

/** A webhook as answers show it: without its secret, and without an envelope where it stands alone. */
export const webhookView = (
  row: Omit<WebhookState, 'secret' | 'previous_secret' | 'previous_until' | 'deleted'>,
  failing_since: string | null,
) => ({
  id: row.id,
  callback_url: row.callback_url,
  event: row.event,
  description: row.description,
  is_active: row.is_active,
  key_id: row.key_id,
  retry_delays: row.retry_delays,
  deactivation_reason: row.deactivation_reason,
  failing_since,
  created_at: row.created_at,
  updated_at: row.updated_at,
})
export const webhookRowView = (row: WebhookRow) => webhookView(row, row.failing_since)

/** The tenant's, or of them those that the key which asks has created. */
export const ownerOf = ({ caller }: Identity) => ({ tenant: caller.tenant, ...(caller.key_id === null ? {} : { key_id: caller.key_id }) })

/** `whsec_` and the base64 of 32 random bytes. */
export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`
