import { randomBytes } from 'node:crypto'
import { fieldsThatAre, pick } from '../events/fields.ts'
import { type Webhook, type WebhookField, webhookFields } from '../events/webhook.ts'
import type { Identity } from './identity.ts'
import type * as shown from './responses.ts'

type ShownWebhook = Pick<Webhook, WebhookField<'shown'>>
const shownFields = fieldsThatAre(webhookFields, 'shown')

/** Returns the fields of a webhook that responses show. */
export const webhookView = (webhook: Omit<ShownWebhook, 'failing_since'>, failing_since: string | null): shown.Webhook =>
  pick({ ...webhook, failing_since }, shownFields)
export const webhookRowView = (row: ShownWebhook): shown.Webhook => pick(row, shownFields)

/** Returns the filter for the webhooks that a caller may see: all webhooks of its tenant, or for a key only those that the key created. */
export const ownerOf = ({ caller }: Identity) => ({ tenant: caller.tenant, ...(caller.key_id === null ? {} : { key_id: caller.key_id }) })

/** Returns `whsec_` and the base64 of 32 random bytes. */
export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`
