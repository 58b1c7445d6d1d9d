import type { Pool } from 'pg'
import { step } from '../events/steps.ts'
import { keepRunning, pause } from './retry.ts'

/** A right with a name, which only one process has at a time, by the clock of Postgres. */
export interface Lease {
  readonly name: string
  /** Aborts when the lease is lost or released. */
  readonly lost: AbortSignal
  /**
   * Returns whether this process certainly has the lease, by its monotonic clock. The lease counts from just before its last renewal was sent.
   */
  isHeld(): boolean
  /** Releases the lease, so that another process need not wait until the lease expires. */
  release(): Promise<void>
}
export interface LeaseKeeper {
  /** The id under which the leases of this process are stored. */
  readonly owner: string
  /** Takes a lease that no other process has. Returns null when another process has it. */
  take(name: string): Promise<Lease | null>
  /** Releases all leases and stops renewing. */
  close(): Promise<void>
}

interface OwnLease extends Lease {
  /** The time up to which this process certainly has the lease, by its monotonic clock. */
  until: number
  lose(): void
}

/**
 * Makes the keeper of this process's leases. It renews all of them together, whenever a third of `leaseMs` has passed.
 * @param owner unique to this start of the process
 */
export function createLeaseKeeper(options: { pool: Pool; owner: string; leaseMs: number; onError(error: unknown): void }): LeaseKeeper {
  const { pool, owner, leaseMs, onError } = options
  const leases = new Map<string, OwnLease>()
  const inOrder = createOrder()
  const stop = new AbortController()
  // The last tenth of a lease is not used, because clocks may run at different rates and a request needs a moment to be sent.
  const usableMs = leaseMs * 0.9

  const renew = async () => {
    await pause(leaseMs / 3, stop.signal)
    if (leases.size === 0 || stop.signal.aborted) return
    const sentAt = performance.now()
    const renewing = [...leases.values()]
    const statement = {
      name: 'leases-renew',
      text: `update leases set until = clock_timestamp() + $3 * interval '1 ms'
             where owner = $1 and name = any ($2) returning name`,
      values: [owner, renewing.map((lease) => lease.name), leaseMs],
    }
    const { rows } = await step('leases.renew', () => pool.query<{ name: string }>(statement))
    const renewed = new Set(rows.map((row) => row.name))
    for (const lease of renewing) {
      if (leases.get(lease.name) !== lease) continue // the lease was released meanwhile, and perhaps taken again
      if (renewed.has(lease.name)) lease.until = sentAt + usableMs
      else lease.lose()
    }
  }
  // A lease that was not renewed in time is lost, even if its row still names this process, because another process may take it now.
  const loseExpired = async () => {
    // A lease that is taken or renewed meanwhile expires later than all leases that exist now.
    const until = Math.min(performance.now() + usableMs, ...[...leases.values()].map((lease) => lease.until))
    await pause(Math.max(0, until - performance.now()) + 1, stop.signal)
    for (const lease of leases.values()) if (performance.now() > lease.until) lease.lose()
  }
  const loops = Promise.all([
    keepRunning(renew, { signal: stop.signal, onError }),
    keepRunning(loseExpired, { signal: stop.signal, onError }),
  ])

  const createLease = (name: string, until: number): OwnLease => {
    const loss = new AbortController()
    const lease: OwnLease = {
      name,
      lost: loss.signal,
      until,
      isHeld: () => !loss.signal.aborted && performance.now() <= lease.until,
      lose() {
        if (leases.get(name) === lease) leases.delete(name)
        loss.abort()
      },
      release: () =>
        inOrder(name, async () => {
          const isSucceeded = leases.has(name) && leases.get(name) !== lease
          lease.lose()
          // If the lease was taken again, the row belongs to the new lease.
          if (!isSucceeded) await pool.query('delete from leases where name = $1 and owner = $2', [name, owner])
        }),
    }
    return lease
  }
  return {
    owner,
    take: (name) =>
      inOrder(name, async () => {
        const sentAt = performance.now()
        const statement = {
          name: 'leases-take',
          text: `insert into leases (name, owner, until) values ($1, $2, clock_timestamp() + $3 * interval '1 ms')
                 on conflict (name) do update set owner = excluded.owner, until = excluded.until
                 where leases.until < clock_timestamp() or leases.owner = excluded.owner`,
          values: [name, owner, leaseMs],
        }
        const { rowCount } = await step('leases.take', () => pool.query(statement))
        if (rowCount !== 1 || stop.signal.aborted) return null
        const lease = createLease(name, sentAt + usableMs)
        leases.get(name)?.lose()
        leases.set(name, lease)
        return lease
      }),
    async close() {
      stop.abort()
      await loops
      for (const lease of [...leases.values()]) await lease.release()
    },
  }
}

/**
 * Runs the takes and releases of one name in sequence. Otherwise a release could delete the row of a lease that is taken again meanwhile.
 */
function createOrder() {
  const last = new Map<string, Promise<unknown>>()
  return <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const result = (last.get(name) ?? Promise.resolve()).then(work, work)
    const done = () => {
      if (last.get(name) === result) last.delete(name)
    }
    result.then(done, done)
    last.set(name, result)
    return result
  }
}
