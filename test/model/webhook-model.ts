import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { TenantId } from '../../src/events/ids.ts'
import type { RecordedTenantEvent } from '../../src/events/tenant.ts'
import type { RecordedWebhookEvent } from '../../src/events/webhook.ts'
import type { Projection } from '../../src/projections/projection.ts'
import type { Tables } from './tables.ts'

/** What one event does to the read model of webhooks. */
export function applyWebhookEvent({ webhooks, tenants }: Pick<Tables, 'webhooks' | 'tenants'>, recorded: RecordedEvent): void {
  const event = recorded as RecordedWebhookEvent | RecordedTenantEvent
  const { position, revision } = event
  const tenant = event.metadata.tenant as TenantId
  switch (event.type) {
    case 'TenantSuspended':
    case 'TenantResumed':
      tenants.set(tenant, { isSuspended: event.type === 'TenantSuspended', position })
      return
    case 'WebhookCreated': {
      const { id, key_id: keyId, callback_url: callbackUrl, event: pattern, is_active: isActive, secret } = event.data
      const fresh = { previousSecret: null, previousUntil: null, retryDelays: null, isDeleted: false }
      webhooks.set(id, { id, tenant, keyId, callbackUrl, event: pattern, isActive, secret, ...fresh, revision, position })
      return
    }
    case 'WebhookChanged':
    case 'WebhookActivated':
    case 'WebhookDeactivated':
    case 'WebhookDeleted': {
      const row = webhooks.get(event.data.id)!
      const callbackUrl = (event.type === 'WebhookChanged' ? event.data.callback_url : undefined) ?? row.callbackUrl
      const isActive = event.type === 'WebhookActivated' || (event.type === 'WebhookChanged' && row.isActive)
      const isDeleted = row.isDeleted || event.type === 'WebhookDeleted'
      webhooks.set(row.id, { ...row, callbackUrl, isActive, isDeleted, revision, position })
      return
    }
    default:
      throw new Error(`the model makes no ${event.type}`)
  }
}

/** Stands for the projection `webhooks`: run by the real runner, its rows kept by one statement. */
export const webhookModel: Projection = {
  name: 'webhooks',
  version: 1,
  families: ['webhook', 'tenant'],
  async apply(sql, events) {
    await sql`apply webhook events ${events}`
  },
}
