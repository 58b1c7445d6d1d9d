import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import { sqlOn } from '../lib/sql.ts'

/** The number of data keys of a tenant: one seals its values, and one is for fingerprints. */
const keysOfTenant = 2

/** Makes the check that each tenant has its data keys, and that a key is gone only if the tenant was erased. */
export function createKeyChecks() {
  const registered = new Set<string>()
  const asked = new Set<string>()
  const erased = new Set<string>()
  return {
    /** Reads a genuine event of the audit log. */
    read({ type, metadata: { tenant } }: RecordedEvent): void {
      if (type === 'TenantRegistered') registered.add(tenant)
      else if (type === 'TenantErasureAsked') asked.add(tenant)
      else if (type === 'TenantErased') erased.add(tenant)
    },
    async check(pool: Pool, faults: { add(where: string, fault: string): void }): Promise<void> {
      const rows = await sqlOn(pool)<{ owner: string; present: number; gone: number }>`
        select owner, count(wrapped)::int as present, (count(*) - count(wrapped))::int as gone from data_keys
        where owner = any (${[...registered]}::text[]) and purpose in ('seal', 'fingerprint') group by owner`
      const byOwner = new Map(rows.map((row) => [row.owner, row]))
      for (const tenant of registered) {
        const { present = 0, gone = 0 } = byOwner.get(tenant) ?? {}
        const where = `data key of ${tenant}`
        if (present + gone < keysOfTenant) faults.add(where, 'key_missing')
        if (gone > 0 && !asked.has(tenant)) faults.add(where, 'erased_without_record')
        if (present > 0 && erased.has(tenant)) faults.add(where, 'not erased')
      }
    },
  }
}
