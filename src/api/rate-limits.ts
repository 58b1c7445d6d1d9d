import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import { ApiError } from './errors.ts'
import type { Identity } from './identity.ts'

/** The unit of a limit: events (messages) on the routes that accept them, requests on all others. */
export type Quota = 'events' | 'requests'
export type RateHeaders = Readonly<Record<string, string>>

/**
 * Limits the requests or events of each client or key per second. Each process counts on its own and allows its share of the
 * limit, so that no request waits for another process.
 *
 * The headers are those of draft-ietf-httpapi-ratelimit-headers-10. `RateLimit-Policy` has the whole limit (`q`) and its window in seconds (`w`).
 * `RateLimit` has the remainder of this process's share (`r`), and the seconds until the share is complete again (`t`).
 */
export interface RateLimits {
  /** Counts one request or event. Throws rate_limited, with `Retry-After`, when nothing is left. */
  take(identity: Identity, quota: Quota): Promise<RateHeaders>
  /**
   * Counts `count` further events of an accepted request. The request is not refused, and an excess is taken from the following seconds. So a batch
   * that is larger than one second's share can still be sent.
   */
  takeMore(identity: Identity, quota: Quota, count: number): Promise<RateHeaders>
}

interface Share {
  readonly points: number
  readonly windowSeconds: number
  readonly perSecond: number
}
/** Returns this process's share of a limit. A share below 1 per second becomes one request or event every 1/share seconds. */
function shareOf(limitPerSecond: number, processes: number): Share {
  const share = limitPerSecond / processes
  return share >= 1
    ? { points: Math.floor(share), windowSeconds: 1, perSecond: share }
    : { points: 1, windowSeconds: 1 / share, perSecond: share }
}

export function createRateLimits(options: {
  /** The limit for clients and keys of tenants that have no limit of their own. */
  eventsPerSecond: number
  /** The limit for clients and keys of tenants that have no limit of their own. */
  requestsPerSecond: number
  /** Returns how many processes share the limits. */
  processes(): number
}): RateLimits {
  const { eventsPerSecond, requestsPerSecond, processes } = options
  // The limiter only counts, because the allowed number differs between tenants and changes with the number of processes.
  const createCounter = () => new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 1 })
  const counters = { events: createCounter(), requests: createCounter() }
  const policies = new Map<string, string>()

  const limitOf = ({ limits }: Identity, quota: Quota): number =>
    quota === 'events' ? (limits.events_per_second ?? eventsPerSecond) : (limits.requests_per_second ?? requestsPerSecond)
  const policyOf = (quota: Quota, limit: number): string => {
    const name = `${quota}${limit}`
    const policy = policies.get(name) ?? `"${quota}";q=${limit};w=1`
    policies.set(name, policy)
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
        throw new ApiError('rate_limited', `The limit of ${limit} ${quota} a second is exceeded: try again later.`, {
          headers: { ...headers, 'retry-after': String(seconds(counted.msBeforeNext)) },
        })
      return headers
    },
    async takeMore(identity, quota, count) {
      const limit = limitOf(identity, quota)
      const share = shareOf(limit, processes())
      const { actor } = identity.caller
      const counted = await counters[quota].consume(actor, count, { customDuration: share.windowSeconds })
      const excess = counted.consumedPoints - Math.max(share.points, counted.consumedPoints - count)
      if (excess <= 0) return headersOf(quota, limit, share, counted)
      const window = counted.msBeforeNext / 1_000 + excess / share.perSecond
      return headersOf(quota, limit, share, await counters[quota].set(actor, counted.consumedPoints, window))
    },
  }
}
