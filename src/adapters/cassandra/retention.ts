/** The time for which rows are kept after their message was accepted. */
export interface Retention {
  readonly seconds: number
  /**
   * Returns the TTL of a row in seconds, or null when it has expired. All rows of a delivery expire together, even those that are written
   * late.
   */
  ttlOf(accepted_at: string): number | null
  /** Returns the oldest accepted_at (ms since 1970) whose rows may still exist. */
  oldest(): number
}

/** Cassandra's longest TTL (20 years). */
const longest = 630_720_000

export function retention(seconds: number, now: () => number = Date.now): Retention {
  if (!Number.isSafeInteger(seconds) || seconds < 1 || seconds > longest)
    throw new RangeError(`the retention must be 1-${longest} whole seconds, not ${seconds}`)
  return {
    seconds,
    ttlOf(accepted_at) {
      const secondsLeft = Math.ceil((Date.parse(accepted_at) - now()) / 1_000) + seconds
      return secondsLeft < 1 ? null : Math.min(secondsLeft, seconds) // the clock of another process may be ahead
    },
    oldest: () => now() - seconds * 1_000,
  }
}
