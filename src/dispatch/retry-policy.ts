import { jitter, longestChain } from '../events/retry-chain.ts'

const longestRetryAfter = 24 * 3_600

/**
 * Seconds from a failed attempt to the next, or null when it was the last: the list's delay +-20 %, and not before what
 * the receiver's Retry-After asks for (at most 24 h).
 * @param attempt the one that failed, from 1; @param random in [0, 1)
 */
export function nextDelay(delays: readonly number[], attempt: number, retryAfterSeconds: number | null, random: number): number | null {
  const delay = delays[attempt - 1]
  if (delay === undefined) return null
  const spread = delay * (1 - jitter + 2 * jitter * random)
  return Math.round(1_000 * Math.max(spread, Math.min(retryAfterSeconds ?? 0, longestRetryAfter))) / 1_000
}

/** Retry-After (RFC 9110, 10.2.3): seconds or an HTTP date; null when it is neither. @param now milliseconds */
export function parseRetryAfter(value: string | undefined, now: number): number | null {
  if (value === undefined) return null
  const text = value.trim()
  if (/^\d+$/.test(text)) return Number(text) // however long: the policy bounds it to a day
  const time = /^[A-Z][a-z]{2,8},? .*GMT$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? null : Math.max(0, (time - now) / 1_000)
}

const leastParking = 3_600

/**
 * Seconds after which a parked delivery has expired: the longest chain, and an hour at the least. A webhook with quick
 * retries, or a restart of ours, must not turn what waits for a slot into dead letters that nobody tried.
 */
export const parkingTime = (delays: readonly number[]): number => Math.max(leastParking, longestChain(delays))
