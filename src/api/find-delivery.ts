import type { DeliveryId } from '../events/ids.ts'
import type { Delivery } from '../ports/delivery-log.ts'
import { findWebhook } from '../projections/webhooks.ts'
import type { ApiDependencies } from './dependencies.ts'
import { notRetained } from './errors.ts'
import type { Identity } from './identity.ts'

/** Returns a delivery of the caller's tenant. A key sees only deliveries to webhooks that it created. Throws not_found. */
export async function findDelivery(deps: ApiDependencies, { caller }: Identity, id: DeliveryId): Promise<Delivery> {
  const { tenant, key_id } = caller
  const row = await deps.deliveryLog.find(tenant, id)
  if (row === null) throw notRetained(deps)
  if (key_id !== null && (await findWebhook(deps, { tenant, key_id }, row.webhook)) === null) throw notRetained(deps)
  return row
}
