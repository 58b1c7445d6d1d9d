import type { Pool } from 'pg'
import { createLeaseShares, type LeaseShares } from '../../src/lib/lease-shares.ts'
import type { LeaseKeeper } from '../../src/lib/leases.ts'
import { keepRunning } from '../../src/lib/retry.ts'

/** Makes the shares of a process that competes with no other one. It finds within a moment that a lease of another owner has become free. */
export const wholeShare = (pool: Pool, leases: LeaseKeeper): LeaseShares => createLeaseShares({ pool, leases, balanceMs: 20, onError() {} })

/**
 * Grants every lease to every process. Two runners of a projection then run at once, and only the compare-and-set of the checkpoint protects the rows.
 */
export const everyLease: LeaseShares = {
  keep: (name, work, options) =>
    keepRunning(() => work({ name, lost: options.signal, isHeld: () => true, release: async () => {} }), options),
}
