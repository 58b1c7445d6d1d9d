import { jitter, longestChain } from '../events/retry-chain.ts'

const maxRetryAfterSeconds = 24 * 3_600

/**
 * Returns the seconds from a failed attempt to the next, or null after the last attempt. This is the delay of the list +-20 %, or the receiver's
 * Retry-After (at most 24 h) if that is longer.
 * @param attempt the number of the failed attempt, from 1
 * @param random in [0, 1)
 */
export function nextDelay(delays: readonly number[], attempt: number, retryAfterSeconds: number | null, random: number): number | null {
  const delay = delays[attempt - 1]
  if (delay === undefined) return null
  const spread = delay * (1 - jitter + 2 * jitter * random)
  return Math.round(1_000 * Math.max(spread, Math.min(retryAfterSeconds ?? 0, maxRetryAfterSeconds))) / 1_000
}

const minParkingSeconds = 3_600

/**
 * Returns the seconds after which a parked delivery expires: the longest time that a chain can take, but at least an hour. With a shorter time, short
 * retry delays or a restart of Kolbak could turn waiting deliveries into dead letters without an attempt (decision 8).
 */
export const parkingTime = (delays: readonly number[]): number => Math.max(minParkingSeconds, longestChain(delays))
