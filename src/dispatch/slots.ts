import type { TenantId, WebhookId } from '../events/ids.ts'

/**
 * Who may send now. A slot is one request under way. Limits: all of the process, a quarter per
 * tenant, a share per webhook (one while its breaker is open, more the longer it answers quickly), and half for all webhooks that are
 * not known to be fast, so that endpoints which hang never own the pool. What is over a limit waits in its webhook's bounded queue, and is
 * parked when that is full or has lasted too long; where only the whole pool is full it just waits.
 */
export interface Slots {
  /** Resolves with a slot, or `parked` when the delivery is to wait in the table. One that comes from there passes new ones by. */
  enter(webhook: WebhookId, tenant: TenantId, options?: { fromTable: boolean }): Promise<Slot | 'parked'>
  /** How many rows of the webhook may be claimed: what it could begin at once, and a few more to follow while it does well. */
  room(webhook: WebhookId, tenant: TenantId): number
  /** It has parked rows: while it has, new deliveries park behind them. */
  setParked(webhook: WebhookId, tenant: TenantId): void
  /** All webhooks that have parked rows. */
  parkedAre(webhooks: ReadonlySet<WebhookId>): void
  /** In use, and waiting. */
  readonly inFlight: number
  readonly waiting: number
  /** For shutdown: whoever waits is told to park, and nothing new enters. */
  close(): void
}
export interface Slot {
  /** The answer has come: the webhook's, the tenant's and the slow ones' shares are free again, the pool's place is not yet. */
  answered(outcome: { ok: boolean; duration_ms: number }): void
  /**
   * Gives the whole slot back, after the attempt has been appended: what is not recorded still takes a place of the pool,
   * so that no more requests than that can go unrecorded while the event store is away.
   */
  release(): void
}
export interface SlotLimits {
  readonly total: number
  /** Per webhook over all dispatchers. */
  readonly perWebhook: number
  /** The same of a webhook that answers quickly. */
  readonly perQuickWebhook: number
  /** Live dispatchers, this one included. */
  dispatchers(): number
  /** Waiting deliveries of one webhook. */
  readonly queue?: number
  readonly queueMs?: number
}

/** Failures in a row that open a webhook's breaker: one request at a time then probes it. */
const breakerFailures = 5
const slowMs = 1_000
/** A median below it lets a webhook's share grow. */
const quickMs = 100
/** What an answer that is not quick takes from the share; a quick one gives one. */
const lost = 4
/** Durations that are remembered of each webhook. */
const samples = 9
const sweepMs = 100
/**
 * What a webhook that does well may have claimed ahead of its slots: what it does in so many ms, and no more than so many rows. More are fetched once half
 * of them have begun, and not one by one.
 */
const claimAhead = { ms: 100, rows: 300 }

interface Waiting {
  readonly since: number
  /** It has a row already: telling it to park gives its claim back. */
  readonly fromTable: boolean
  resolve(answer: Slot | 'parked'): void
}
interface Endpoint {
  readonly webhook: WebhookId
  readonly tenant: TenantId
  inFlight: number
  /** Start times of requests under way: one that has lasted long tells before it ends. */
  readonly started: Set<{ at: number }>
  queue: Waiting[]
  failures: number
  recent: number[]
  fast: boolean
  /** Its share over all dispatchers, which its answers raise and lower. */
  allowed: number
  parked: boolean
}

export function createSlots(limits: SlotLimits, now: () => number = () => performance.now()): Slots & { stop(): void } {
  const { total, perWebhook, perQuickWebhook, queue: queueLength = 500, queueMs = 2_000 } = limits
  const perTenant = Math.max(1, Math.floor(total / 4))
  const forSlow = Math.max(1, Math.floor(total / 2))
  /** Up to so many under way, of the tenant and of all, a quick webhook may have more than any: endpoints that hang are mostly several. */
  const calm = { tenant: Math.floor(perTenant / 2), all: Math.floor(total / 4) }
  const endpoints = new Map<WebhookId, Endpoint>()
  const tenants = new Map<TenantId, number>()
  /** Webhooks that have somebody waiting, by tenant, both in the order in which they are looked at. */
  const rings = new Map<TenantId, Set<Endpoint>>()
  let inFlight = 0
  /** Of these not answered yet. */
  let underWay = 0
  let slowInFlight = 0
  let waiting = 0
  let closed = false

  const endpointOf = (webhook: WebhookId, tenant: TenantId): Endpoint => {
    const known = endpoints.get(webhook)
    if (known !== undefined) return known
    const fresh: Endpoint = {
      webhook,
      tenant,
      inFlight: 0,
      started: new Set(),
      queue: [],
      failures: 0,
      recent: [],
      fast: false,
      allowed: perWebhook,
      parked: false,
    }
    endpoints.set(webhook, fresh)
    return fresh
  }
  const ownLimit = (e: Endpoint) => {
    if (e.failures >= breakerFailures) return 1
    const isCalm = underWay < calm.all && (tenants.get(e.tenant) ?? 0) < calm.tenant
    return Math.max(1, Math.floor((isCalm ? e.allowed : perWebhook) / limits.dispatchers()))
  }
  /** What the limits other than the whole pool's leave to it. */
  const share = (e: Endpoint) =>
    Math.min(ownLimit(e) - e.inFlight, perTenant - (tenants.get(e.tenant) ?? 0), e.fast ? Number.POSITIVE_INFINITY : forSlow - slowInFlight)
  /** Half of its requests and more have lasted long: seen before they have outweighed what is remembered of it. */
  const isStalled = (e: Endpoint) => {
    const at = now()
    let long = 0
    for (const { at: begun } of e.started) if (at - begun > slowMs) long++
    return long > 0 && long * 2 >= e.started.size
  }
  const doesWell = (e: Endpoint) => e.fast && e.failures === 0 && !isStalled(e)
  const aheadOf = (e: Endpoint) =>
    doesWell(e) ? Math.min(claimAhead.rows, Math.ceil((ownLimit(e) * claimAhead.ms) / Math.max(1, median(e.recent.slice())))) : 0
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0
  /** Answers whether it has changed its mind. */
  const judge = (e: Endpoint): boolean => {
    const at = now()
    const known = e.recent.slice()
    for (const { at: begun } of e.started) if (at - begun > slowMs) known.push(at - begun)
    const fast = e.recent.length > 0 && median(known) <= slowMs
    if (fast === e.fast) return false
    e.fast = fast
    slowInFlight += fast ? -e.inFlight : e.inFlight
    return true
  }
  const begin = (e: Endpoint): Slot => {
    const start = { at: now() }
    e.inFlight++
    e.started.add(start)
    inFlight++
    underWay++
    if (!e.fast) slowInFlight++
    tenants.set(e.tenant, (tenants.get(e.tenant) ?? 0) + 1)
    let sharesHeld = true
    let placeHeld = true
    /** Answers how many of other webhooks may begin instead: what was not full has held up nobody. */
    const freeShares = (): number => {
      if (!sharesHeld) return 0
      sharesHeld = false
      const freed = ((tenants.get(e.tenant) ?? 0) >= perTenant ? 1 : 0) + (!e.fast && slowInFlight >= forSlow ? 1 : 0)
      e.started.delete(start)
      e.inFlight--
      underWay--
      if (!e.fast) slowInFlight--
      const left = (tenants.get(e.tenant) ?? 1) - 1
      if (left === 0) tenants.delete(e.tenant)
      else tenants.set(e.tenant, left)
      return freed
    }
    return {
      answered({ ok, duration_ms }) {
        if (!sharesHeld) return
        const freed = freeShares()
        e.failures = ok ? 0 : e.failures + 1
        e.recent.push(duration_ms)
        if (e.recent.length > samples) e.recent.shift()
        const isQuick = ok && median(e.recent.slice()) <= quickMs
        e.allowed = Math.max(perWebhook, Math.min(e.allowed + (isQuick ? 1 : -lost), perQuickWebhook))
        if (judge(e)) serve()
        else if (freed > 0) serve(freed)
        else serveOnly(e)
      },
      release() {
        const isRoom = freeShares() > 0 || inFlight >= total
        if (placeHeld) inFlight--
        placeHeld = false
        if (isRoom) serve()
        else serveOnly(e)
      },
    }
  }
  const beginFirst = (e: Endpoint) => {
    const first = e.queue.shift()
    if (first === undefined) return
    waiting--
    first.resolve(begin(e))
  }
  const queued = (e: Endpoint) => {
    const ring = rings.get(e.tenant)
    if (ring === undefined) rings.set(e.tenant, new Set([e]))
    else ring.add(e)
  }
  const unqueued = (e: Endpoint) => {
    const ring = rings.get(e.tenant)
    if (ring?.delete(e) && ring.size === 0) rings.delete(e.tenant)
  }
  /** Gives a webhook what is free, where no other can be waiting for that. */
  const serveOnly = (e: Endpoint) => {
    while (e.queue.length > 0 && inFlight < total && share(e) > 0) beginFirst(e)
    if (e.queue.length === 0) unqueued(e)
  }
  /** Begins the next of a tenant's webhooks that has a share left. Answers whether there was one. */
  const serveTenant = (ring: Set<Endpoint>): boolean => {
    for (let looked = ring.size; looked > 0; looked--) {
      const [e] = ring
      if (e === undefined) return false
      ring.delete(e)
      const begins = share(e) > 0
      if (begins) beginFirst(e)
      if (e.queue.length > 0) ring.add(e)
      if (begins) return true
    }
    return false
  }
  /** Gives free slots to whoever waits, tenant after tenant and webhook after webhook. @param most looks no further when so many have begun */
  const serve = (most = total) => {
    let begun = 0
    for (let looked = 0; begun < most && inFlight < total && looked < rings.size; ) {
      const [first] = rings
      if (first === undefined) return
      const [tenant, ring] = first
      const begins = (tenants.get(tenant) ?? 0) < perTenant && serveTenant(ring)
      if (begins) begun++
      looked = begins ? 0 : looked + 1
      rings.delete(tenant)
      if (ring.size > 0) rings.set(tenant, ring)
    }
  }
  const park = (e: Endpoint, which: (w: Waiting) => boolean) => {
    const parked = e.queue.filter(which)
    e.queue = e.queue.filter((w) => !which(w))
    waiting -= parked.length
    for (const w of parked) w.resolve('parked')
    if (e.queue.length === 0) unqueued(e)
  }
  const sweep = () => {
    const at = now()
    for (const e of endpoints.values()) {
      if (e.started.size > 0) judge(e)
      // What was claimed ahead while it did well must not stand in the way of others' rows.
      if (e.queue.length > 0 && (!e.fast || e.failures >= breakerFailures || isStalled(e))) park(e, (w) => w.fromTable)
      // Waiting for the whole pool alone is not the webhook's fault.
      if (e.queue.length > 0 && share(e) <= 0) park(e, (w) => !w.fromTable && at - w.since >= queueMs)
      if (e.inFlight === 0 && e.queue.length === 0 && !e.parked && endpoints.size > 50_000) endpoints.delete(e.webhook)
    }
    serve()
  }
  const timer = setInterval(sweep, sweepMs)

  return {
    enter(webhook, tenant, { fromTable } = { fromTable: false }) {
      const e = endpointOf(webhook, tenant)
      if (closed || (e.parked && !fromTable)) return Promise.resolve('parked')
      if (e.queue.length === 0 && inFlight < total && share(e) > 0) return Promise.resolve(begin(e))
      if (e.queue.length >= queueLength) return Promise.resolve('parked')
      return new Promise((resolve) => {
        e.queue.push({ since: now(), fromTable, resolve })
        waiting++
        queued(e)
      })
    },
    room(webhook, tenant) {
      const e = endpointOf(webhook, tenant)
      if (closed) return 0
      const most = aheadOf(e)
      const ahead = e.queue.length * 2 <= most ? most : 0
      return Math.max(0, Math.min(share(e), total - inFlight) + ahead - e.queue.length)
    },
    setParked(webhook, tenant) {
      endpointOf(webhook, tenant).parked = true
    },
    parkedAre(webhooks) {
      for (const e of endpoints.values()) e.parked = webhooks.has(e.webhook)
    },
    get inFlight() {
      return inFlight
    },
    get waiting() {
      return waiting
    },
    close() {
      closed = true
      for (const e of endpoints.values()) park(e, () => true)
    },
    stop() {
      clearInterval(timer)
    },
  }
}
