import type { Pool } from 'pg'

/** The processes that are certainly dead: `all` when no other process can use this database, or `owner` for the id of one process. */
export type DeadOwners = 'none' | 'all' | { readonly owner: string }

/** Releases leases, claims and shares of limits that dead processes still hold. Without this, each would end when its time is over. */
export async function releaseDeadOwners(pool: Pool, dead: DeadOwners): Promise<void> {
  if (dead === 'none') return
  const isAll = dead === 'all'
  const owner = isAll ? '' : dead.owner
  // Rows that another process has locked are skipped, because waiting for them could be a deadlock.
  await pool.query(
    `with released as (
       delete from leases where $1 or owner = $2
     ), gone as (
       delete from live_processes where $1 or id = $2
     )
     update scheduled_deliveries set claimed_by = null, claimed_until = null
     where delivery in (
       select delivery from scheduled_deliveries where claimed_by is not null and ($1 or claimed_by = $2) for update skip locked
     )`,
    [isAll, owner],
  )
}
