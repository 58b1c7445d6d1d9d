import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { TenantId } from '../../src/events/ids.ts'
import type { RecordedTenantEvent } from '../../src/events/tenant.ts'
import type { RecordedWebhookEvent } from '../../src/events/webhook.ts'
import type { Projection } from '../../src/projections/projection.ts'
import type { Tables } from './tables.ts'

/** Applies one event to the read model of webhooks. */
export function applyWebhookEvent({ webhooks, tenants }: Pick<Tables, 'webhooks' | 'tenants'>, recorded: RecordedEvent): void {
  const event = recorded as RecordedWebhookEvent | RecordedTenantEvent
  const { position, revision } = event
  const tenant = event.metadata.tenant as TenantId
  switch (event.type) {
    case 'TenantRegistered':
    case 'TenantHeld':
      return
    case 'TenantSuspended':
    case 'TenantResumed':
      tenants.set(tenant, { is_suspended: event.type === 'TenantSuspended', position })
      return
    case 'WebhookCreated': {
      const { id, callback_url, event: pattern, is_active, secret } = event.data
      const initialFields = { previous_secret: null, previous_secret_until: null, retry_delays: null, is_deleted: false }
      webhooks.set(id, { id, tenant, callback_url, event: pattern, is_active, secret, ...initialFields, revision, position })
      return
    }
    case 'WebhookChanged':
    case 'WebhookActivated':
    case 'WebhookDeactivated':
    case 'WebhookDeleted': {
      const row = webhooks.get(event.data.id)!
      const callback_url = (event.type === 'WebhookChanged' ? event.data.callback_url : undefined) ?? row.callback_url
      const is_active = event.type === 'WebhookActivated' || (event.type === 'WebhookChanged' && row.is_active)
      const is_deleted = row.is_deleted || event.type === 'WebhookDeleted'
      webhooks.set(row.id, { ...row, callback_url, is_active, is_deleted, revision, position })
      return
    }
    default:
      throw new Error(`the model makes no ${event.type}`)
  }
}

/** A projection that replaces `webhooks` in the model. The real runner runs it, and one statement writes its rows. */
export const webhookModel: Projection = {
  name: 'webhooks',
  version: 1,
  families: ['webhook', 'tenant'],
  async apply(sql, events) {
    await sql`apply webhook events ${events}`
  },
}
