/**
 * Tracks how one webhook responds, and derives how many requests it may have in flight.
 *
 * A webhook is slow until its first response. It is fast while the median of its recent durations is at most 1 s. While that median is at most 100
 * ms, its concurrency limit grows (decision 20). Its circuit breaker opens after five failures in a row and closes after one success. All times are
 * milliseconds of one monotonic clock.
 */
export class Responsiveness {
  isFast = false
  private consecutiveFailures = 0
  /** The concurrency limit that the webhook has earned by quick responses, from `limits.normal` up to `limits.highThroughput`. */
  private earnedLimit: number
  /** Durations of the last responses, oldest first. */
  private readonly durations: number[] = []
  private readonly openRequests = new Set<OpenRequest>()
  private readonly limits: WebhookLimits

  constructor(limits: WebhookLimits) {
    this.limits = limits
    this.earnedLimit = limits.normal
  }

  get inFlight(): number {
    return this.openRequests.size
  }
  /** While the breaker is open, the webhook has one request in flight at a time. */
  get breaker(): 'closed' | 'open' {
    return this.consecutiveFailures >= failuresThatOpenBreaker ? 'open' : 'closed'
  }

  start(now: number): OpenRequest {
    const request = { startedAt: now }
    this.openRequests.add(request)
    return request
  }
  /** Ends a request whose response has come or will never be known. */
  end(request: OpenRequest): void {
    this.openRequests.delete(request)
  }
  recordResponse({ ok, duration_ms }: ResponseSample): void {
    this.consecutiveFailures = ok ? 0 : this.consecutiveFailures + 1
    this.durations.push(duration_ms)
    if (this.durations.length > samples) this.durations.shift()
    const isWithinTarget = ok && median(this.durations) <= targetMs
    this.earnedLimit = nextEarnedLimit(this.earnedLimit, isWithinTarget, this.limits)
  }
  /** Recomputes `isFast`, and returns whether it changed. The age of an open request counts as a duration once it exceeds 1 s. */
  assess(now: number): boolean {
    const durations = this.durations.slice()
    for (const { startedAt } of this.openRequests) if (now - startedAt > slowMs) durations.push(now - startedAt)
    const isFast = this.durations.length > 0 && median(durations) <= slowMs
    if (isFast === this.isFast) return false
    this.isFast = isFast
    return true
  }
  /** Returns whether at least half of the open requests are older than 1 s. This detects a stall before the median of past durations does. */
  isStalled(now: number): boolean {
    let long = 0
    for (const { startedAt } of this.openRequests) if (now - startedAt > slowMs) long++
    return long > 0 && long * 2 >= this.openRequests.size
  }
  /**
   * Returns how many requests the webhook may have in flight over all dispatchers.
   * @param mayExceedNormal whether there is room for the high-throughput limit
   */
  concurrencyLimit(mayExceedNormal: boolean): number {
    if (this.breaker === 'open') return 1
    return mayExceedNormal ? this.earnedLimit : this.limits.normal
  }
  /** Returns how many parked rows to claim beyond the free slots: none for a webhook that is slow, failing or stalled. */
  rowsToClaimAhead(concurrencyLimit: number, now: number): number {
    const isHealthy = this.isFast && this.consecutiveFailures === 0 && !this.isStalled(now)
    return isHealthy ? rowsCompletedSoon(concurrencyLimit, median(this.durations)) : 0
  }
}

export interface OpenRequest {
  readonly startedAt: number
}
export interface ResponseSample {
  readonly ok: boolean
  readonly duration_ms: number
}
/** Concurrency limits of one webhook over all dispatchers. */
interface WebhookLimits {
  readonly normal: number
  /** The most that a high-throughput webhook can earn. */
  readonly highThroughput: number
}

const failuresThatOpenBreaker = 5
/** The number of past durations from which the median is taken. */
const samples = 9
const slowMs = 1_000
const targetMs = 100
/**
 * A failure, or a median above `targetMs`, lowers the earned limit by this number, and any other response raises it by 1. So the limit stays high
 * if one request in ten fails, and falls if one in two fails.
 */
const lossOfLimit = 4
/** The rows claimed ahead for a webhook are those that it completes in `ms`, at most `rows`. */
const claimAhead = { ms: 100, rows: 300 }

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

/** Returns the earned limit after one more response. */
export function nextEarnedLimit(limit: number, isWithinTarget: boolean, { normal, highThroughput }: WebhookLimits): number {
  return Math.max(normal, Math.min(limit + (isWithinTarget ? 1 : -lossOfLimit), highThroughput))
}

/** Returns the number of rows that a webhook completes in `claimAhead.ms` at its present speed, at most `claimAhead.rows`. */
function rowsCompletedSoon(concurrencyLimit: number, medianMs: number): number {
  return Math.min(claimAhead.rows, Math.ceil((concurrencyLimit * claimAhead.ms) / Math.max(1, medianMs)))
}
