import type { Pool } from 'pg'
import type { Lease, LeaseKeeper } from './leases.ts'
import { type Notices, noNotices } from './notices.ts'
import { createBackoff, keepRunning } from './retry.ts'
import { createWake, untilPoll } from './wake.ts'

/** Divides leases among processes, so that each has its fair share of them. */
export interface LeaseShares {
  /**
   * Calls `work` whenever this process has the lease within its share, until the signal aborts. `lease.lost` aborts when the lease is lost, another
   * process should have it, or the signal aborts. `work` must return soon after that, and then the lease is released. After an error, this process
   * competes for the lease again with a back-off.
   */
  keep(
    name: string,
    work: (lease: Lease) => Promise<void>,
    options: { readonly signal: AbortSignal; onError(error: unknown, delayMs: number): void },
  ): Promise<void>
}

interface LeaseSharesOptions {
  readonly pool: Pool
  readonly leases: LeaseKeeper
  /** Returns the number of live processes that compete for the leases, including this one. Default: 1. */
  readonly processes?: () => number
  /** Default: none. A change of another process is then found by a query. */
  readonly notices?: Notices
  /** Milliseconds between a change and the next division. Without further changes, this time doubles until it is eight times as long. Default 250. */
  readonly balanceMs?: number
  /** Called when a division has failed. The division is then repeated. */
  onError(error: unknown, delayMs: number): void
}

/** Returns how many of the leases a process should have. */
export function shareOf(options: {
  /** The number of leases that are divided. */
  total: number
  processes: number
  /** The id of the process. */
  owner: string
  /** The number of leases that the process has. */
  kept: number
  /** The number of leases of each other process. */
  others: ReadonlyMap<string, number>
}): number {
  const { total, owner, kept, others } = options
  const processes = Math.max(1, options.processes)
  const least = Math.floor(total / processes)
  const remainder = total % processes
  // Some processes have one lease more than the others. If too many have one more, those with the greatest ids give it up.
  const withMore = [...others].filter(([, count]) => count > least).map(([id]) => id)
  const competitors = kept > least ? withMore.filter((id) => id < owner) : withMore
  return competitors.length < remainder ? least + 1 : least
}

/**
 * Makes the shares of this process. A process takes free leases up to its share, and gives up the newest ones beyond it. All processes that compete for
 * leases must name the same ones.
 */
export const createLeaseShares = (options: LeaseSharesOptions): LeaseShares => new Shares(options)

class Shares implements LeaseShares {
  readonly #options: LeaseSharesOptions
  readonly #processes: () => number
  readonly #notices: Notices
  readonly #wake = createWake()
  readonly #delays: ReturnType<typeof createBackoff>
  /** All leases that this process competes for. */
  readonly #names = new Set<string>()
  /** For each lease that this process waits for, the function that gets the lease. */
  readonly #waiting = new Map<string, (lease: Lease) => void>()
  /** For each lease of this process, the signal by which it is given up. The oldest lease comes first. */
  readonly #held = new Map<string, AbortController>()
  /** Ends the divisions. It is null while this process competes for no lease. */
  #dividing: AbortController | null = null

  constructor(options: LeaseSharesOptions) {
    const { processes = () => 1, notices = noNotices, balanceMs = 250 } = options
    this.#options = options
    this.#processes = () => Math.max(1, processes())
    this.#notices = notices
    this.#delays = createBackoff(balanceMs, 8 * balanceMs)
  }

  async keep(...[name, work, { signal, onError }]: Parameters<LeaseShares['keep']>): Promise<void> {
    const compete = async () => {
      const lease = await this.#untilTaken(name, signal)
      if (lease === null) return
      try {
        await work(lease)
      } finally {
        this.#held.delete(name)
        await lease.release()
        this.#notices.tellOthers('leases')
      }
    }
    this.#names.add(name)
    if (this.#dividing === null) this.#divideRepeatedly()
    try {
      await keepRunning(compete, { signal, onError })
    } finally {
      this.#names.delete(name)
      if (this.#names.size === 0) {
        this.#dividing?.abort()
        this.#dividing = null
      }
    }
  }

  /** Waits until this process has the lease within its share. Returns null when the signal aborts first. */
  #untilTaken(name: string, signal: AbortSignal): Promise<Lease | null> {
    return new Promise((resolve) => {
      const stop = () => {
        this.#waiting.delete(name)
        resolve(null)
      }
      if (signal.aborted) return stop()
      signal.addEventListener('abort', stop, { once: true })
      this.#waiting.set(name, (lease) => {
        signal.removeEventListener('abort', stop)
        this.#waiting.delete(name)
        const giveUp = new AbortController()
        this.#held.set(name, giveUp)
        resolve({ ...lease, lost: AbortSignal.any([lease.lost, giveUp.signal, signal]) })
      })
      this.#wake.notify()
    })
  }

  #divideRepeatedly(): void {
    const dividing = new AbortController()
    this.#dividing = dividing
    const { signal } = dividing
    const changed = () => {
      this.#delays.reset()
      this.#wake.notify()
    }
    const stopListening = [this.#notices.on('processes', changed), this.#notices.on('leases', changed)]
    const divide = async () => this.#wake.wait(await this.#divide(), signal)
    keepRunning(divide, { signal, onError: this.#options.onError }).finally(() => {
      for (const stop of stopListening) stop()
    })
  }

  /** Takes and gives up leases. Returns the milliseconds until the next division. */
  async #divide(): Promise<number> {
    const { leases } = this.#options
    const total = this.#names.size
    const processes = this.#processes()
    const kept = [...this.#held.values()].filter(({ signal }) => !signal.aborted)
    const isSettled = kept.length === Math.floor(total / processes) && (total % processes === 0 || this.#waiting.size === 0)
    if (isSettled) return untilPoll(this.#delays.next())
    const leased = await this.#leasesOfOthers()
    const others = new Map<string, number>()
    for (const { owner } of leased) others.set(owner, (others.get(owner) ?? 0) + 1)
    const share = shareOf({ total, processes, owner: leases.owner, kept: kept.length, others })
    for (const giveUp of kept.slice(share)) giveUp.abort()
    const leasedNames = new Set(leased.map(({ name }) => name))
    const free = [...this.#waiting.keys()].filter((name) => !leasedNames.has(name))
    if ((await this.#takeFree(free, share - kept.length)) > 0) this.#delays.reset()
    // A lease of a killed process expires without a notice.
    return Math.min(untilPoll(this.#delays.next()), ...leased.map(({ left_ms }) => left_ms + 1))
  }

  /** Returns the leases of other processes, with the milliseconds until they expire. */
  async #leasesOfOthers() {
    const { pool, leases } = this.#options
    const { rows } = await pool.query<{ name: string; owner: string; left_ms: number }>({
      name: 'leases-of-others',
      text: `select name, owner, ceil(extract(epoch from until - clock_timestamp()) * 1000)::float8 as left_ms from leases
             where name = any ($1) and owner <> $2 and until >= clock_timestamp()`,
      values: [[...this.#names], leases.owner],
    })
    return rows
  }

  /** Takes at most `most` of the free leases. Returns how many it has taken. */
  async #takeFree(free: readonly string[], most: number): Promise<number> {
    let taken = 0
    for (const name of shuffled(free)) {
      if (taken >= most) break
      const lease = this.#waiting.has(name) ? await this.#options.leases.take(name) : null
      if (lease === null) continue
      const give = this.#waiting.get(name)
      if (give === undefined)
        await lease.release() // the wait has ended meanwhile
      else {
        give(lease)
        taken++
      }
    }
    return taken
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
