import type { TenantId, WebhookId } from '../events/ids.ts'
import { FairQueue } from './fair-queue.ts'
import { mostBeyondShare, shareOf } from './memory-shares.ts'
import { type OpenRequest, type ResponseSample, Responsiveness } from './responsiveness.ts'
import { WaitingDeliveries } from './waiting-deliveries.ts'

/** The most attempts for each slot that have a response and no event yet (decision 9). */
export const unrecordedPerSlot = 20

/**
 * The slots of this process: each is the right to have one request in flight.
 *
 * Four limits hold: all slots of the process; a quarter of them per tenant; the concurrency limit of the webhook; and half of them for
 * all slow webhooks together, so that receivers that hang never take the whole pool (decision 4).
 *
 * A delivery over one of these limits waits in memory. The memory is shared fairly between tenants and webhooks, and what does not fit is parked. A
 * delivery is also parked after it has waited too long for its webhook, so that the offset of its partition can move (decision 52). A delivery that
 * waits only for the whole pool is not parked.
 */
export interface Slots {
  /**
   * Resolves with a slot, or with `parked` when the delivery has to wait in the table. A delivery from the table does not wait
   * behind the parked rows of its webhook.
   */
  acquire(webhook: WebhookId, tenant: TenantId, options?: AcquireOptions): Promise<Slot | 'parked'>
  /** Returns how many rows of the webhook may be claimed: as many as could start at once. If the webhook responds well, more are claimed ahead. */
  claimableRows(webhook: WebhookId, tenant: TenantId): number
  /** Notes that the webhook has parked rows. While it has any, new deliveries are parked behind them. */
  markParked(webhook: WebhookId, tenant: TenantId): void
  /** Replaces the set of webhooks that have parked rows. */
  setParkedWebhooks(webhooks: ReadonlySet<WebhookId>): void
  /** The number of requests without a response. */
  readonly inFlight: number
  /** The number of deliveries that wait for a slot in memory. */
  readonly waiting: number
  /** Called at shutdown: parks every waiting delivery, and grants no more slots. */
  close(): void
  /** Ends the timer. */
  stop(): void
}
interface AcquireOptions {
  readonly fromTable: boolean
  /** The size of the delivery's sealed body. Default 0. */
  readonly bytes?: number
}
export interface Slot {
  /** Records the response, and frees the slot for other requests. The attempt counts as unrecorded from now on. */
  responded(response: ResponseSample): void
  /**
   * Ends the slot, after the attempt has been appended. While the event store is unavailable, deliveries continue. They stop when too many attempts
   * are unrecorded, because a crash would repeat the requests of all these attempts (decision 9).
   */
  release(): void
}
export interface SlotLimits {
  readonly total: number
  /** The concurrency limit of a webhook over all dispatchers. */
  readonly perWebhook: number
  /** The concurrency limit of a high-throughput webhook over all dispatchers. */
  readonly perHighThroughputWebhook: number
  /** Returns the number of live dispatchers, including this one. */
  dispatchers(): number
  /** The most attempts that have a response and no event yet. Default: `unrecordedPerSlot` for each slot. */
  readonly unrecorded?: number
  /** The most bytes of waiting deliveries, over all webhooks. Default 16 MiB. */
  readonly maxWaitingBytes?: number
  /** The most bytes of waiting deliveries of a webhook that does not respond well. Default: a 32nd of all. */
  readonly maxUnresponsiveBytes?: number
  /** The most milliseconds that a delivery waits for its webhook, if the webhook responds well. Default 10,000. */
  readonly longestWaitMs?: number
  /** The most milliseconds that a delivery waits for its webhook, if the webhook does not respond well. Default 2,000. */
  readonly longestUnresponsiveWaitMs?: number
}

interface WaitingDelivery {
  readonly since: number
  /** The memory that the delivery takes. */
  readonly bytes: number
  /** Whether the delivery has a row in the table. To park it then only releases its claim. */
  readonly fromTable: boolean
  resolve(result: Slot | 'parked'): void
}
/** The load of one webhook on this process: its requests in flight, its waiting deliveries and its recent response times. */
interface WebhookLoad {
  readonly webhook: WebhookId
  readonly tenant: TenantId
  readonly responsiveness: Responsiveness
  readonly waiting: WaitingDeliveries<WaitingDelivery>
  hasParkedRows: boolean
}

const sweepMs = 100
/** The bytes that a waiting delivery takes besides its body. */
const overheadBytes = 256
/** When room is needed, the webhook that uses most beyond its share loses at least this part of the memory. */
const partToFree = 1 / 64
const maxIdleLoads = 50_000

/** @param now milliseconds of a monotonic clock */
export const createSlots = (limits: SlotLimits, now: () => number = () => performance.now()): Slots => new SlotPool(limits, now)

class SlotPool implements Slots {
  /** The pool is `closed` once the shutdown has begun. */
  private mode: 'open' | 'closed' = 'open'
  /** Attempts that have a response and are not recorded yet. */
  private unrecorded = 0
  /** Requests without a response: all, those of each tenant, and those to slow webhooks. */
  private openRequests = 0
  private readonly openByTenant = new Map<TenantId, number>()
  private openToSlow = 0
  private waitingDeliveries = 0
  private waitingBytes = 0
  private readonly loads = new Map<WebhookId, WebhookLoad>()
  /** The webhooks that have deliveries waiting. */
  private readonly fairQueue = new FairQueue<WebhookLoad>()

  private readonly limits: Required<SlotLimits>
  private readonly perTenant: number
  private readonly forSlow: number
  private readonly now: () => number
  /** Runs the sweep while requests are open or deliveries wait. */
  private timer: NodeJS.Timeout | null = null

  constructor(limits: SlotLimits, now: () => number) {
    const { maxWaitingBytes = 16 << 20 } = limits
    this.limits = {
      maxWaitingBytes,
      maxUnresponsiveBytes: maxWaitingBytes / 32,
      longestWaitMs: 10_000,
      longestUnresponsiveWaitMs: 2_000,
      unrecorded: limits.total * unrecordedPerSlot,
      ...limits,
    }
    this.perTenant = Math.max(1, Math.floor(limits.total / 4))
    this.forSlow = Math.max(1, Math.floor(limits.total / 2))
    this.now = now
  }
  get inFlight(): number {
    return this.openRequests
  }
  get waiting(): number {
    return this.waitingDeliveries
  }

  acquire(webhook: WebhookId, tenant: TenantId, { fromTable, bytes = 0 }: AcquireOptions = { fromTable: false }): Promise<Slot | 'parked'> {
    const load = this.loadOf(webhook, tenant)
    if (this.mode === 'closed' || (load.hasParkedRows && !fromTable)) return Promise.resolve('parked')
    if (load.waiting.length === 0 && this.canStart(load)) return Promise.resolve(this.start(load))
    const size = bytes + overheadBytes
    if (!this.makeRoom(load, size)) return Promise.resolve('parked')
    return new Promise((resolve) => {
      load.waiting.push({ since: this.now(), fromTable, bytes: size, resolve })
      this.waitingDeliveries++
      this.waitingBytes += size
      this.sweepRegularly()
      this.fairQueue.add(load)
    })
  }
  claimableRows(webhook: WebhookId, tenant: TenantId): number {
    if (this.mode === 'closed') return 0
    const load = this.loadOf(webhook, tenant)
    const startable = Math.min(this.shareLeft(load), this.freeSlots)
    const mostAhead = load.responsiveness.rowsToClaimAhead(this.ownLimit(load), this.now())
    // Rows claimed ahead are refilled once half of them have started, so that claims come in batches.
    const ahead = load.waiting.length * 2 <= mostAhead ? mostAhead : 0
    return Math.max(0, startable + ahead - load.waiting.length)
  }
  markParked(webhook: WebhookId, tenant: TenantId): void {
    this.loadOf(webhook, tenant).hasParkedRows = true
  }
  setParkedWebhooks(webhooks: ReadonlySet<WebhookId>): void {
    for (const load of this.loads.values()) load.hasParkedRows = webhooks.has(load.webhook)
  }
  close(): void {
    this.mode = 'closed'
    for (const load of this.loads.values())
      this.park(
        load,
        load.waiting.remove(() => true),
      )
  }
  stop(): void {
    if (this.timer !== null) clearInterval(this.timer)
    this.timer = null
  }

  /** Called by a slot when its response has come. */
  onResponse(load: WebhookLoad, request: OpenRequest, response: ResponseSample): void {
    const freed = this.endRequest(load, request)
    this.unrecorded++
    load.responsiveness.recordResponse(response)
    this.reevaluate(load, this.assess(load) ? 'any' : freed)
  }
  /** Called by a slot when its attempt is recorded, or when no request will be made. @param request the open request, or null after its response */
  onRelease(load: WebhookLoad, request: OpenRequest | null): void {
    const wasFull = this.unrecorded >= this.limits.unrecorded
    const freed = request === null ? 0 : this.endRequest(load, request)
    if (request === null) this.unrecorded--
    this.reevaluate(load, wasFull || freed > 0 ? 'any' : 0)
  }

  private loadOf(webhook: WebhookId, tenant: TenantId): WebhookLoad {
    const existing = this.loads.get(webhook)
    if (existing !== undefined) return existing
    const responsiveness = new Responsiveness({ normal: this.limits.perWebhook, highThroughput: this.limits.perHighThroughputWebhook })
    const load: WebhookLoad = { webhook, tenant, responsiveness, waiting: new WaitingDeliveries(), hasParkedRows: false }
    this.loads.set(webhook, load)
    return load
  }
  private openOf(tenant: TenantId): number {
    return this.openByTenant.get(tenant) ?? 0
  }
  /** The webhook's concurrency limit in this process. */
  private ownLimit({ tenant, responsiveness }: WebhookLoad): number {
    // Many receivers often hang at the same time. So the part above the normal limit is granted only while tenant and pool have plenty of free slots.
    const mayExceedNormal = this.openRequests < Math.floor(this.limits.total / 4) && this.openOf(tenant) < Math.floor(this.perTenant / 2)
    return Math.max(1, Math.floor(responsiveness.concurrencyLimit(mayExceedNormal) / this.limits.dispatchers()))
  }
  /** Returns how many more requests the webhook may start by every limit except that of the whole pool. */
  private shareLeft(load: WebhookLoad): number {
    return Math.min(
      this.ownLimit(load) - load.responsiveness.inFlight,
      this.perTenant - this.openOf(load.tenant),
      load.responsiveness.isFast ? Number.POSITIVE_INFINITY : this.forSlow - this.openToSlow,
    )
  }
  /** The number of slots that may be granted. It is 0 while too many attempts are unrecorded. */
  private get freeSlots(): number {
    return this.unrecorded < this.limits.unrecorded ? this.limits.total - this.openRequests : 0
  }
  private canStart(load: WebhookLoad): boolean {
    return this.freeSlots > 0 && this.shareLeft(load) > 0
  }
  private start(load: WebhookLoad): Slot {
    const request = load.responsiveness.start(this.now())
    this.openRequests++
    this.sweepRegularly()
    if (!load.responsiveness.isFast) this.openToSlow++
    this.openByTenant.set(load.tenant, this.openOf(load.tenant) + 1)
    return new PoolSlot(this, load, request)
  }
  /** Frees the shares of a request. Returns how many requests of other webhooks can start instead: one for each shared limit that was full. */
  private endRequest({ tenant, responsiveness }: WebhookLoad, request: OpenRequest): number {
    const open = this.openOf(tenant)
    const freed =
      (open >= this.perTenant ? 1 : 0) +
      (!responsiveness.isFast && this.openToSlow >= this.forSlow ? 1 : 0) +
      (this.openRequests >= this.limits.total ? 1 : 0)
    responsiveness.end(request)
    this.openRequests--
    if (!responsiveness.isFast) this.openToSlow--
    if (open === 1) this.openByTenant.delete(tenant)
    else this.openByTenant.set(tenant, open - 1)
    return freed
  }
  /** Updates whether a webhook is fast, and the count of requests to slow webhooks. Returns whether `isFast` changed. */
  private assess({ responsiveness }: WebhookLoad): boolean {
    if (!responsiveness.assess(this.now())) return false
    this.openToSlow += responsiveness.isFast ? -responsiveness.inFlight : responsiveness.inFlight
    return true
  }

  /**
   * Starts waiting deliveries after a change of one webhook.
   * @param others how many deliveries of other webhooks may start after the change: 0 if no shared limit was full, `any` if the number is unknown
   */
  private reevaluate(load: WebhookLoad, others: number | 'any'): void {
    if (others === 0) while (load.waiting.length > 0 && this.canStart(load)) this.startNext(load)
    else this.serve(others === 'any' ? this.limits.total : others)
  }
  /** Gives at most `most` free slots to waiting deliveries, in the fair order. */
  private serve(most: number): void {
    for (let started = 0; started < most && this.freeSlots > 0; started++) {
      const load = this.fairQueue.next(this.fairQueueRules)
      if (load === undefined) return
      this.startNext(load)
    }
  }
  private readonly fairQueueRules = {
    canTenantStart: (tenant: TenantId) => this.openOf(tenant) < this.perTenant,
    canWebhookStart: (load: WebhookLoad) => this.shareLeft(load) > 0,
  }
  private startNext(load: WebhookLoad): void {
    const delivery = load.waiting.shift()
    if (load.waiting.length === 0) this.fairQueue.remove(load)
    if (delivery === undefined) return
    this.waitingDeliveries--
    this.waitingBytes -= delivery.bytes
    delivery.resolve(this.start(load))
  }
  /** Parks deliveries that were removed from those that wait. */
  private park(load: WebhookLoad, removed: readonly WaitingDelivery[]): void {
    if (load.waiting.length === 0) this.fairQueue.remove(load)
    this.waitingDeliveries -= removed.length
    for (const { bytes, resolve } of removed) {
      this.waitingBytes -= bytes
      resolve('parked')
    }
  }
  /**
   * Returns whether the webhook responds well: it is fast, its circuit breaker is closed, and it has not stalled. Its deliveries then do not wait
   * long.
   */
  private isResponsive({ responsiveness }: WebhookLoad, now: number): boolean {
    return responsiveness.isFast && responsiveness.breaker === 'closed' && !responsiveness.isStalled(now)
  }
  /**
   * Returns whether a delivery of the webhook may wait in memory. If the webhook is within its share, the newest deliveries of webhooks beyond their
   * shares are parked to make room.
   */
  private makeRoom(load: WebhookLoad, size: number): boolean {
    const { maxWaitingBytes, maxUnresponsiveBytes } = this.limits
    const needed = load.waiting.bytes + size
    if (needed > maxUnresponsiveBytes && !this.isResponsive(load, this.now())) return false
    if (this.waitingBytes + size <= maxWaitingBytes) return true
    this.fairQueue.add(load) // from now on the webhook has a share
    while (this.waitingBytes + size > maxWaitingBytes && needed <= shareOf(this.fairQueue, load, maxWaitingBytes)) {
      const greediest = mostBeyondShare(this.fairQueue, maxWaitingBytes)
      if (greediest === undefined) break
      this.park(greediest, greediest.waiting.removeNewest(Math.max(size, maxWaitingBytes * partToFree)))
    }
    if (load.waiting.length === 0) this.fairQueue.remove(load)
    return this.waitingBytes + size <= maxWaitingBytes
  }
  private sweepRegularly(): void {
    this.timer ??= setInterval(() => this.sweep(), sweepMs)
  }
  /** Handles what changes with time alone: webhooks become slow or stall, and deliveries wait too long. */
  private sweep(): void {
    const now = this.now()
    for (const load of this.loads.values()) {
      const { responsiveness, waiting } = load
      if (responsiveness.inFlight > 0) this.assess(load)
      if (waiting.length > 0) {
        const isResponsive = this.isResponsive(load, now)
        // Rows that were claimed ahead for a webhook are parked when it no longer responds well, because they would take the place
        // of rows of other webhooks.
        if (!isResponsive) {
          this.park(
            load,
            waiting.remove(({ fromTable }) => fromTable),
          )
          if (waiting.bytes > this.limits.maxUnresponsiveBytes)
            this.park(load, waiting.removeNewest(waiting.bytes - this.limits.maxUnresponsiveBytes))
        }
        const waitMs = isResponsive ? this.limits.longestWaitMs : this.limits.longestUnresponsiveWaitMs
        const isLate = ({ fromTable, since }: WaitingDelivery) => !fromTable && now - since >= waitMs
        if (waiting.oldest !== undefined && now - waiting.oldest.since >= waitMs && this.shareLeft(load) <= 0)
          this.park(load, waiting.remove(isLate))
      } else if (this.loads.size > maxIdleLoads && responsiveness.inFlight === 0 && !load.hasParkedRows) this.loads.delete(load.webhook)
    }
    this.serve(this.limits.total)
    if (this.openRequests === 0 && this.waitingDeliveries === 0) this.stop()
  }
}

class PoolSlot implements Slot {
  /** `requesting` until the response has come, then `recording` until the attempt is appended. */
  private mode: 'requesting' | 'recording' | 'released' = 'requesting'
  private readonly pool: SlotPool
  private readonly load: WebhookLoad
  private readonly request: OpenRequest

  constructor(pool: SlotPool, load: WebhookLoad, request: OpenRequest) {
    this.pool = pool
    this.load = load
    this.request = request
  }
  responded(response: ResponseSample): void {
    if (this.mode !== 'requesting') return
    this.mode = 'recording'
    this.pool.onResponse(this.load, this.request, response)
  }
  release(): void {
    if (this.mode === 'released') return
    const request = this.mode === 'requesting' ? this.request : null
    this.mode = 'released'
    this.pool.onRelease(this.load, request)
  }
}
