import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import { ApiError } from './errors.ts'
import type { Identity } from './route.ts'

/** What is counted: events (messages) where they are posted, requests elsewhere. */
export type Quota = 'events' | 'requests'
export type RateHeaders = Readonly<Record<string, string>>

/**
 * Bounds what each client or key may ask for in a second. No request waits for another process: each counts its own, and
 * allows its share of the limit.
 *
 * The headers are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` tells the whole limit (`q`) and its
 * window in seconds (`w`), `RateLimit` what is left of this process's share (`r`), and in how many seconds it is whole
 * again (`t`).
 */
export interface RateLimits {
  /** Takes one. Throws rate_limited, with `Retry-After`, when nothing is left. */
  take(identity: Identity, quota: Quota): Promise<RateHeaders>
  /**
   * Takes what a request turned out to hold beyond the one that it was let in for. It is not refused any more: what is over
   * the limit is paid for by the seconds to come, so a batch larger than a second's share needs no second of its own.
   */
  takeMore(identity: Identity, quota: Quota, count: number): Promise<RateHeaders>
}

interface Share {
  readonly points: number
  readonly windowSeconds: number
  readonly perSecond: number
}
/** Of a limit below one a second and process, one for each of so many seconds. */
function shareOf(perSecond: number, processes: number): Share {
  const share = perSecond / processes
  return share >= 1
    ? { points: Math.floor(share), windowSeconds: 1, perSecond: share }
    : { points: 1, windowSeconds: 1 / share, perSecond: share }
}

export function createRateLimits(options: {
  /** Of tenants that have no limit of their own. */
  eventsPerSecond: number
  requestsPerSecond: number
  /** How many processes share the limits. */
  processes(): number
}): RateLimits {
  const { eventsPerSecond, requestsPerSecond, processes } = options
  // It only counts: what is allowed differs from tenant to tenant, and with the number of processes.
  const counting = () => new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 1 })
  const counters = { events: counting(), requests: counting() }
  const policies = new Map<string, string>()

  const limitOf = ({ limits }: Identity, quota: Quota): number =>
    quota === 'events' ? (limits.events_per_second ?? eventsPerSecond) : (limits.requests_per_second ?? requestsPerSecond)
  const policyOf = (quota: Quota, limit: number): string => {
    const known = policies.get(`${quota}${limit}`)
    if (known !== undefined) return known
    const policy = `"${quota}";q=${limit};w=1`
    policies.set(`${quota}${limit}`, policy)
    return policy
  }
  const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1_000))
  const headersOf = (quota: Quota, limit: number, { points }: Share, { consumedPoints, msBeforeNext }: RateLimiterRes): RateHeaders => ({
    'ratelimit-policy': policyOf(quota, limit),
    ratelimit: `"${quota}";r=${Math.max(0, points - consumedPoints)};t=${seconds(msBeforeNext)}`,
  })

  return {
    async take(identity, quota) {
      const limit = limitOf(identity, quota)
      const share = shareOf(limit, processes())
      const counted = await counters[quota].consume(identity.caller.actor, 1, { customDuration: share.windowSeconds })
      const headers = headersOf(quota, limit, share, counted)
      if (counted.consumedPoints > share.points)
        throw new ApiError('rate_limited', `More than ${limit} ${quota} a second: wait, then go on.`, {
          headers: { ...headers, 'retry-after': String(seconds(counted.msBeforeNext)) },
        })
      return headers
    },
    async takeMore(identity, quota, count) {
      const limit = limitOf(identity, quota)
      const share = shareOf(limit, processes())
      const { actor } = identity.caller
      let counted = await counters[quota].consume(actor, count, { customDuration: share.windowSeconds })
      const over = counted.consumedPoints - Math.max(share.points, counted.consumedPoints - count)
      if (over > 0)
        counted = await counters[quota].set(actor, counted.consumedPoints, counted.msBeforeNext / 1_000 + over / share.perSecond)
      return headersOf(quota, limit, share, counted)
    },
  }
}
