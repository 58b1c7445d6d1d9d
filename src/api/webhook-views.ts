import { randomBytes } from 'node:crypto'
import type { WebhookState } from '../commands/webhook.ts'
import type { WebhookRow } from '../projections/webhooks.ts'
import type { Identity } from './route.ts'

/** A webhook as answers show it: without its secret, and without an envelope where it stands alone. */
export const webhookView = (
  row: Omit<WebhookState, 'secret' | 'previousSecret' | 'previousUntil' | 'deleted'>,
  failingSince: string | null,
) => ({
  id: row.id,
  callback_url: row.callbackUrl,
  event: row.event,
  description: row.description,
  is_active: row.isActive,
  key_id: row.keyId,
  retry_delays: row.retryDelays,
  deactivation_reason: row.deactivationReason,
  failing_since: failingSince,
  created_at: row.createdAt,
  updated_at: row.updatedAt,
})
export const webhookRowView = (row: WebhookRow) => webhookView(row, row.failingSince)

/** The tenant's, or of them those that the key which asks has created. */
export const ownerOf = ({ caller }: Identity) => ({ tenant: caller.tenant, ...(caller.keyId === null ? {} : { keyId: caller.keyId }) })

/** `whsec_` and the base64 of 32 random bytes. */
export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`
