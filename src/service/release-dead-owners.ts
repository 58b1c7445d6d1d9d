import type { Pool } from 'pg'

/**
 * Frees at once what processes hold that are certainly dead: leases, claims, their share of limits. Else it is free when it runs out.
 * @param dead the id of one, or all there were
 */
export async function releaseDeadOwners(pool: Pool, dead: 'all' | (string & {})): Promise<void> {
  // Rows that another process has in hand are passed over: to wait for them could be a deadlock.
  await pool.query(
    `with freed as (
       delete from leases where $1::text is null or owner = $1
     ), gone as (
       delete from live_processes where $1::text is null or id = $1
     )
     update scheduled_deliveries set claimed_by = null, claimed_until = null
     where delivery in (
       select delivery from scheduled_deliveries where claimed_by = $1 or ($1 is null and claimed_by is not null) for update skip locked
     )`,
    [dead === 'all' ? null : dead],
  )
}
