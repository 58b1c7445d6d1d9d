import type { TenantId } from '../events/ids.ts'

/**
 * The webhooks that have deliveries waiting, in the order in which free slots go to them: round robin over tenants, and within
 * a tenant round robin over its webhooks (decision 24). So neither a long queue nor many webhooks of one tenant delay another tenant.
 */
export class FairQueue<W extends { readonly tenant: TenantId }> {
  /** The tenants, each with its webhooks. Maps and sets keep the order of insertion, so the first entry is next. */
  private readonly webhooksByTenant = new Map<TenantId, Set<W>>()

  /** Adds a webhook behind the others of its tenant, unless it is in the queue already. */
  add(webhook: W): void {
    const webhooks = this.webhooksByTenant.get(webhook.tenant)
    if (webhooks === undefined) this.webhooksByTenant.set(webhook.tenant, new Set([webhook]))
    else webhooks.add(webhook)
  }
  remove(webhook: W): void {
    const webhooks = this.webhooksByTenant.get(webhook.tenant)
    if (webhooks?.delete(webhook) && webhooks.size === 0) this.webhooksByTenant.delete(webhook.tenant)
  }
  /** The number of tenants that have deliveries waiting. */
  get tenants(): number {
    return this.webhooksByTenant.size
  }
  /** Returns the number of webhooks of a tenant that have deliveries waiting. */
  webhooksOf(tenant: TenantId): number {
    return this.webhooksByTenant.get(tenant)?.size ?? 0
  }
  *webhooks(): Generator<W> {
    for (const webhooks of this.webhooksByTenant.values()) yield* webhooks
  }
  /** Returns the next webhook that can start a request, and moves it and its tenant to the end. The webhook stays in the queue until `remove`. */
  next(rules: { canTenantStart(tenant: TenantId): boolean; canWebhookStart(webhook: W): boolean }): W | undefined {
    for (let tenantsLeft = this.webhooksByTenant.size; tenantsLeft > 0; tenantsLeft--) {
      const [first] = this.webhooksByTenant
      if (first === undefined) return undefined
      const [tenant, webhooks] = first
      this.webhooksByTenant.delete(tenant)
      this.webhooksByTenant.set(tenant, webhooks)
      const webhook = rules.canTenantStart(tenant) ? nextOf(webhooks, rules.canWebhookStart) : undefined
      if (webhook !== undefined) return webhook
    }
    return undefined
  }
}

function nextOf<W>(webhooks: Set<W>, canStart: (webhook: W) => boolean): W | undefined {
  for (let webhooksLeft = webhooks.size; webhooksLeft > 0; webhooksLeft--) {
    const [webhook] = webhooks
    if (webhook === undefined) return undefined
    webhooks.delete(webhook)
    webhooks.add(webhook)
    if (canStart(webhook)) return webhook
  }
  return undefined
}
