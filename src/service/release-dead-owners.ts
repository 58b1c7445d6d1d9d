import type { Pool } from 'pg'

/** The processes that are certainly dead: `none`, `all` (no other process can use this database), or the one with the id `owner`. */
export type DeadOwners = 'none' | 'all' | { readonly owner: string }

/** Releases the leases, claims and shares of limits of dead processes. Otherwise they would last until their time runs out. */
export async function releaseDeadOwners(pool: Pool, dead: DeadOwners): Promise<void> {
  if (dead === 'none') return
  const isAll = dead === 'all'
  const owner = isAll ? '' : dead.owner
  // Rows that another process has locked are skipped, because waiting for them could cause a deadlock.
  await pool.query(
    `with released as (
       delete from leases where $1 or owner = $2
     ), gone as (
       delete from live_processes where $1 or id = $2
     )
     update scheduled_deliveries set claimed_until = '-infinity'
     where delivery in (
       select delivery from scheduled_deliveries where claimed_by is not null and ($1 or claimed_by = $2) for update skip locked
     )`,
    [isAll, owner],
  )
}
