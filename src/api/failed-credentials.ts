import ipaddr from 'ipaddr.js'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { ApiError } from './errors.ts'

/** Bounds how many wrong credentials one address may try in a minute, so that nobody searches for right ones, nor keeps the database busy. */
export interface FailedCredentials {
  /** Throws too_many_failed_credentials. Asked before a credential that is not known yet is looked up. */
  guard(address: string): Promise<void>
  /** Counts a wrong one. */
  count(address: string): Promise<void>
}

const windowSeconds = 60

/** Whoever has an IPv6 network has all its addresses: they count as one (/64). */
function sourceOf(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  return parsed instanceof ipaddr.IPv6 ? parsed.toByteArray().slice(0, 8).join('.') : parsed.toString()
}

export function createFailedCredentials(perMinute: number): FailedCredentials {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: windowSeconds })
  return {
    async guard(address) {
      const seen = await limiter.get(sourceOf(address))
      if (seen === null || seen.consumedPoints < perMinute) return
      throw new ApiError('too_many_failed_credentials', 'Too many wrong credentials came from this address: wait a minute.', {
        headers: { 'retry-after': String(Math.max(1, Math.ceil(seen.msBeforeNext / 1_000))) },
      })
    },
    async count(address) {
      await limiter.penalty(sourceOf(address))
    },
  }
}
