import { tenantStream } from '../events/streams.ts'
import { sqlOn } from '../lib/sql.ts'
import { listErasedTenants } from '../projections/tenants.ts'
import type { Shared } from './shared.ts'

/** Destroys the keys of erased tenants again, if somebody has put them back, for example with a backup. This runs at each start. */
export async function destroyErasedKeys({
  pools,
  store,
  macs,
  keyring,
  log,
}: Pick<Shared, 'pools' | 'store' | 'keyring' | 'log'> & Partial<Pick<Shared, 'macs'>>): Promise<void> {
  const erased = await listErasedTenants(pools.reads)
  const back = await sqlOn(pools.reads)<{ id: (typeof erased)[number] }>`
    select tenant.id from unnest(${erased}::text[]) as tenant (id)
    where (select count(*) from data_keys where owner = tenant.id and wrapped is null and erased_by is not null) < 2`
  for (const { id } of back) {
    // The stream decides, because another program may have changed the read model.
    const events = await store.read(tenantStream(id))
    const asked = events.find((event) => event.type === 'TenantErasureAsked' && (macs?.faultOf(event) ?? null) === null)
    if (asked === undefined) continue
    await keyring.destroy(id, asked.id)
    log.warn({ tenant: id }, 'tenant.erased_again')
  }
}
