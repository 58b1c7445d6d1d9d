import ipaddr from 'ipaddr.js'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { ApiError } from './errors.ts'

/** Limits the wrong credentials that one address may try in a minute, so that guessing is hopeless and cannot overload the database. */
export interface FailedCredentials {
  /** Throws too_many_failed_credentials if the address has reached the limit. Call this before an unknown credential is looked up. */
  guard(address: string): Promise<void>
  /** Counts one wrong credential. */
  count(address: string): Promise<void>
}

const windowSeconds = 60

/** Returns the source to which an address belongs. A /64 network of IPv6 counts as one source, because its owner has all of its addresses. */
function sourceOf(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  return parsed instanceof ipaddr.IPv6 ? parsed.toByteArray().slice(0, 8).join('.') : parsed.toString()
}

export function createFailedCredentials(perMinute: number): FailedCredentials {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: windowSeconds })
  return {
    async guard(address) {
      const counted = await limiter.get(sourceOf(address))
      if (counted === null || counted.consumedPoints < perMinute) return
      throw new ApiError('too_many_failed_credentials', 'Too many wrong credentials came from this address: wait a minute.', {
        headers: { 'retry-after': String(Math.max(1, Math.ceil(counted.msBeforeNext / 1_000))) },
      })
    },
    async count(address) {
      await limiter.penalty(sourceOf(address))
    },
  }
}
