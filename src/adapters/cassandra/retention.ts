/** How long rows are kept, from the moment at which their message was accepted. */
export interface Retention {
  readonly seconds: number
  /** Seconds that a row of that time has left, as its TTL: all rows of a delivery end together, however late they come. Null: none. */
  left(accepted_at: string): number | null
  /** The oldest time, in ms since 1970, of which there may still be rows. */
  oldest(): number
}

/** What Cassandra takes for a TTL, 20 years. */
const longest = 630_720_000

export function retention(seconds: number, now: () => number = Date.now): Retention {
  if (!Number.isSafeInteger(seconds) || seconds < 1 || seconds > longest)
    throw new RangeError(`the retention must be 1-${longest} whole seconds, not ${seconds}`)
  return {
    seconds,
    left(accepted_at) {
      const left = Math.ceil((Date.parse(accepted_at) - now()) / 1_000) + seconds
      return left < 1 ? null : Math.min(left, seconds) // of a clock that is ahead
    },
    oldest: () => now() - seconds * 1_000,
  }
}
