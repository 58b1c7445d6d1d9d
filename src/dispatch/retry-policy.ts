import { jitter, longestChain } from '../events/retry-chain.ts'

const maxRetryAfterSeconds = 24 * 3_600

/**
 * Returns the seconds from a failed attempt to the next, or null after the last. It is the delay of the list +-20 %, or what the
 * receiver's Retry-After asks for (at most 24 h) if that is longer.
 * @param attempt the number of the failed attempt, from 1
 * @param random in [0, 1)
 */
export function nextDelay(delays: readonly number[], attempt: number, retryAfterSeconds: number | null, random: number): number | null {
  const delay = delays[attempt - 1]
  if (delay === undefined) return null
  const spread = delay * (1 - jitter + 2 * jitter * random)
  return Math.round(1_000 * Math.max(spread, Math.min(retryAfterSeconds ?? 0, maxRetryAfterSeconds))) / 1_000
}

/** Returns the seconds of a Retry-After header (RFC 9110, 10.2.3), given in seconds or as an HTTP date; null if it is neither. @param now milliseconds since 1970 */
export function parseRetryAfter(value: string | undefined, now: number): number | null {
  if (value === undefined) return null
  const text = value.trim()
  if (/^\d+$/.test(text)) return Number(text) // `nextDelay` limits it to a day
  const time = /^[A-Z][a-z]{2,8},? .*GMT$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? null : Math.max(0, (time - now) / 1_000)
}

const minParkingSeconds = 3_600

/**
 * Returns the seconds after which a parked delivery expires: the time of the longest chain, and at least an hour. Otherwise short
 * retry delays or a restart of Kolbak could turn deliveries that wait for a slot into dead letters without an attempt (decision 8).
 */
export const parkingTime = (delays: readonly number[]): number => Math.max(minParkingSeconds, longestChain(delays))
