import { endsChain } from '../events/delivery.ts'
import type { WebhookId } from '../events/ids.ts'
import type { DeliveryRef } from '../events/refs.ts'
import { step } from '../events/steps.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning, pause, untilDone } from '../lib/retry.ts'
import { untilPoll, type Wake } from '../lib/wake.ts'
import type { BodyArchive, Delivery, DeliveryReads } from '../ports/delivery-log.ts'
import { allotRows, maxClaimedRows } from './allot-rows.ts'
import type { Deliver } from './deliver.ts'
import type { HistoryCatchUp } from './history-catch-up.ts'
import type { ClaimedRow, Schedule, WaitingWebhook } from './schedule.ts'
import type { Slots } from './slots.ts'
import type { StageHealth } from './stage-health.ts'
import type { WebhookCache } from './webhook-cache.ts'

export interface DueDeps {
  readonly schedule: Pick<Schedule, 'waiting' | 'untilNextDue' | 'claim' | 'renew' | 'release' | 'done'>
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & Pick<DeliveryReads, 'states'>
  readonly webhookCache: Pick<WebhookCache, 'get' | 'isSuspended' | 'refresh' | 'refreshIfOld'>
  readonly slots: Pick<Slots, 'claimableRows' | 'setParkedWebhooks'>
  readonly historyCatchUp: HistoryCatchUp
  readonly deliver: Deliver
  readonly stageHealth: StageHealth
  readonly log: Log
  readonly claimMs: number
  /** The longest time of one request. A request is sent only if the claim lasts at least this long. */
  readonly requestMs: number
  /** Notified when rows were parked, or will be due before `longestRestMs` (lib/notices.ts) is over. */
  readonly wake: Wake
  /** Returns the milliseconds between two passes while no row is due or parked. */
  readonly restMs: () => number
  /** Milliseconds between two passes while rows wait. Default 200. */
  readonly pollMs?: number
}

/** The most webhooks on one page. A pass reads all webhooks with due or parked rows, page by page. */
const webhooksPerPage = 500

/** Returns whether the state of a delivery shows that the attempt of a claimed row is over. */
export const isOver = (state: Pick<Delivery, 'chain' | 'attempt' | 'type'> | null, row: { chain: number; attempt: number }): boolean =>
  state !== null && (state.chain > row.chain || (state.chain === row.chain && (endsChain(state.type) || state.attempt >= row.attempt)))

/**
 * Delivers scheduled deliveries (step 9 of "The way of a message" in README.md). It claims due rows and parked rows when slots are free. It runs until
 * the signal aborts, and then finishes the rows that it has claimed.
 */
export async function deliverScheduled(deps: DueDeps, signal: AbortSignal): Promise<void> {
  const { stageHealth, log, claimMs } = deps
  const scheduled = new ScheduledDeliveries(deps, signal)
  const renewing = new AbortController()
  const renewRegularly = async () => {
    await pause(claimMs / 4, renewing.signal)
    await scheduled.renewClaims()
  }
  const renewals = keepRunning(renewRegularly, {
    signal: renewing.signal,
    onError: (error, delayMs) => log.warn({ error, delayMs }, 'claims.renew_failed'),
  })
  const deliverPage = async () => {
    await scheduled.deliverNextPage()
    stageHealth.succeeded('claiming')
  }
  await keepRunning(deliverPage, { signal, onError: (error, delayMs) => stageHealth.failed('claiming', error, { delayMs }) })
  while (scheduled.claimedRows > 0) await pause(20)
  renewing.abort()
  await renewals
}

interface Claim {
  readonly row: ClaimedRow
  /** The end of the claim by the monotonic clock of this process. The time counts from just before the claim or its renewal was requested. */
  until: number
}
const keyOf = ({ delivery, chain, attempt }: DeliveryRef) => `${delivery}/${chain}/${attempt}`

class ScheduledDeliveries {
  private readonly claims = new Map<string, Claim>()
  /** Webhooks with parked rows, as the last complete pass over all webhooks found them. */
  private parkedWebhooks = new Set<WebhookId>()
  /** Webhooks with parked rows that the pass in progress has found so far. */
  private parkedInThisPass = new Set<WebhookId>()
  /** The webhook after which the next page begins, or '' at the start of a pass. */
  private cursor = ''
  /** Whether the pass in progress has found a row that is due or parked. */
  private hasWaiting = false
  private rowsOfLastClaim = 0
  private readonly deps: DueDeps
  private readonly signal: AbortSignal

  constructor(deps: DueDeps, signal: AbortSignal) {
    this.deps = deps
    this.signal = signal
  }
  get claimedRows(): number {
    return this.claims.size
  }
  /** Claims rows of the webhooks on the next page and starts their deliveries. Waits at the end of a pass, and while no more rows may be claimed. */
  async deliverNextPage(): Promise<void> {
    const { wake, pollMs = 200 } = this.deps
    if (this.claims.size < maxClaimedRows) {
      await this.claimPage()
      if (this.cursor !== '') return
    }
    const isBusy = this.hasWaiting || this.claims.size > 0
    await wake.wait(isBusy ? pollMs : await this.untilNextDue(), this.signal)
  }
  private async untilNextDue(): Promise<number> {
    const ms = await this.deps.schedule.untilNextDue()
    return Math.min(untilPoll(this.deps.restMs()), ms === null ? Number.POSITIVE_INFINITY : Math.max(1, Math.ceil(ms)))
  }
  async renewClaims(): Promise<void> {
    const { schedule, claimMs } = this.deps
    const claims = [...this.claims.values()]
    const startedAt = performance.now()
    const renewed = await step('schedule.renew', () => schedule.renew(claims.map(({ row }) => row))) // mutation: claims-not-renewed
    claims.forEach((claim, i) => {
      // A row whose claim was not renewed may belong to another process, so this process must not send it.
      claim.until = renewed[i] ? startedAt + claimMs : Number.NEGATIVE_INFINITY
    })
  }

  private async claimPage(): Promise<void> {
    const { webhookCache, schedule, claimMs } = this.deps
    const waiting = await schedule.waiting(this.cursor, webhooksPerPage)
    if (this.cursor === '') this.hasWaiting = false
    if (waiting.length > 0) {
      this.hasWaiting = true
      await webhookCache.refreshIfOld()
    }
    const isEndOfPass = waiting.length < webhooksPerPage
    this.noteParked(waiting, isEndOfPass)
    const { allotments, last } = allotRows(
      this.deps,
      waiting,
      [...this.claims.values()].map(({ row }) => row),
    )
    const areAllRead = last === (waiting.at(-1)?.webhook ?? '')
    this.cursor = areAllRead && isEndOfPass ? '' : last
    const startedAt = performance.now()
    const claimed = await step('schedule.claim', () => schedule.claim(allotments))
    // A row may be claimed again after its claim ran out, while this process still delivers it. Such a row is not started a second time.
    const rows = claimed.filter((row) => !this.claims.has(keyOf(row)))
    if (rows.length === 0) return
    this.rowsOfLastClaim = rows.length
    const claims = rows.map((row): Claim => ({ row, until: startedAt + claimMs }))
    for (const claim of claims) this.claims.set(keyOf(claim.row), claim)
    await this.startClaimed(claims)
  }
  private async startClaimed(claims: readonly Claim[]): Promise<void> {
    const { webhookCache, deliveryLog, historyCatchUp } = this.deps
    const rows = claims.map(({ row }) => row)
    try {
      if (rows.some((row) => row.was_claimed)) await historyCatchUp.reachHead()
      // Another process may have parked a row for a webhook that is newer than the cache. So the refresh starts after the claim.
      const [states, bodies] = await Promise.all([deliveryLog.states(rows), deliveryLog.bodies(rows), webhookCache.refresh()])
      claims.forEach((claim, i) => void this.deliverRow(claim, states[i] ?? null, bodies[i] ?? null))
    } catch (error) {
      await this.releaseClaims(rows)
      throw error
    }
  }
  /** Releases the claims of rows. Retries until this succeeds, because the rows would otherwise wait until their claims run out. */
  private async releaseClaims(rows: readonly ClaimedRow[]): Promise<void> {
    const { schedule, log } = this.deps
    for (const row of rows) this.claims.delete(keyOf(row))
    await untilDone(() => schedule.release(rows), {
      signal: this.signal,
      onError: (error, delayMs) => log.warn({ error, delayMs }, 'claims.release_failed'),
    })
  }
  private async deliverRow(claim: Claim, state: Delivery | null, sealedBody: Buffer | null): Promise<void> {
    const { schedule, deliver, stageHealth, log, requestMs } = this.deps
    const { row } = claim
    try {
      const isAttemptOver = isOver(state, row) // mutation: sent-after-end
      if (isAttemptOver) {
        await untilDone(() => step('schedule.done', () => schedule.done(row)), {
          onError: (error, delayMs) => log.warn({ error, delayMs }, 'schedule.done_failed'),
        })
        return
      }
      const isOwned = () => performance.now() < claim.until - requestMs
      await untilDone(() => deliver(row, { fromTable: true, parked_at: row.parked_at, sealedBody, isOwned }), {
        onError: (error, delayMs) => stageHealth.failed('delivering', error, { delayMs, delivery: row.delivery }),
      })
      stageHealth.succeeded('delivering')
    } finally {
      this.claims.delete(keyOf(row))
      this.wakeIfRoom(row)
    }
  }
  /** Starts the next claim while half of the last claimed rows are still in progress, so that the slots stay in use. */
  private wakeIfRoom({ webhook, tenant }: DeliveryRef): void {
    if (!this.parkedWebhooks.has(webhook)) return
    const { slots, wake } = this.deps
    const isHalfDone = this.claims.size * 2 <= this.rowsOfLastClaim
    if (isHalfDone || slots.claimableRows(webhook, tenant) * 2 >= this.rowsOfLastClaim) wake.notify()
  }
  /** Collects the webhooks with parked rows. At the end of a pass over all webhooks, tells the slots which these are. */
  private noteParked(waiting: readonly WaitingWebhook[], isEndOfPass: boolean): void {
    if (this.cursor === '') this.parkedInThisPass = new Set()
    for (const { webhook, parked } of waiting) if (parked) this.parkedInThisPass.add(webhook)
    if (!isEndOfPass) return
    this.parkedWebhooks = this.parkedInThisPass
    this.deps.slots.setParkedWebhooks(this.parkedWebhooks)
  }
}
