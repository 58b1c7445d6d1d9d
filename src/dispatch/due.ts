import { endsChain } from '../events/delivery.ts'
import type { WebhookId } from '../events/ids.ts'
import type { DeliveryRef } from '../events/refs.ts'
import type { Log } from '../lib/log.ts'
import { step } from '../lib/points.ts'
import { keepRunning, pause, untilDone } from '../lib/retry.ts'
import type { Wake } from '../lib/wake.ts'
import type { BodyArchive, Delivery, DeliveryReads } from '../ports/delivery-log.ts'
import type { Deliver } from './deliver.ts'
import type { Claimed, Schedule } from './schedule.ts'
import type { Slots } from './slots.ts'
import type { WebhookCache } from './webhook-cache.ts'

export interface DueDeps {
  readonly schedule: Schedule
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & Pick<DeliveryReads, 'states'>
  readonly copy: WebhookCache
  readonly slots: Slots
  readonly deliver: Deliver
  readonly log: Log
  readonly claimMs: number
  /** Time that one request may take: a claim that would run out sooner is not used. */
  readonly requestMs: number
  /** Notified when rows were written that are due at once. */
  readonly wake: Wake
  readonly pollMs?: number
}

/** Webhooks looked at in one round; the next begins after the last. */
const webhooksPerRound = 500
/** Rows in hand at once: in equal parts of the tenants that wait, and of each tenant of its webhooks, so that nobody's rows stand in front of what others are owed. */
const mostInHand = 2_000
/** Of one tenant, also where no other waits. */
const mostOfTenant = 500
/** Rows claimed in one round. */
const rowsPerRound = 500

function counts<K>(keys: readonly K[]): Map<K, number> {
  const found = new Map<K, number>()
  for (const key of keys) found.set(key, (found.get(key) ?? 0) + 1)
  return found
}
const keyOf = ({ delivery, chain, attempt }: DeliveryRef) => `${delivery}/${chain}/${attempt}`

/** What the state of a delivery says of a claimed row: is its attempt over already? */
export const isOver = (state: Pick<Delivery, 'chain' | 'attempt' | 'type'> | null, row: { chain: number; attempt: number }): boolean =>
  state !== null && (state.chain > row.chain || (state.chain === row.chain && (endsChain(state.type) || state.attempt >= row.attempt)))

/** Step 9: claims rows that are due, or parked with a slot free, and delivers them. Runs until the signal aborts, then finishes what is in hand. */
export async function due(deps: DueDeps, signal: AbortSignal): Promise<void> {
  const { schedule, deliveryLog, copy, slots, deliver, log, claimMs, requestMs, wake, pollMs = 200 } = deps
  interface InHand {
    readonly row: Claimed
    /** By this process's monotonic clock, counted from before the claim (or its renewal) was asked for. */
    until: number
  }
  const inHand = new Map<string, InHand>()
  let parkedNow = new Set<WebhookId>()
  let seenParked = new Set<WebhookId>()
  let cursor = ''
  let claimedLast = 0

  /** What may be claimed of whom, and the last webhook that was looked at. */
  const roomsFor = (waiting: readonly { webhook: WebhookId; claimable: boolean }[]) => {
    let left = Math.min(rowsPerRound, mostInHand - inHand.size)
    let last = ''
    const rooms: { webhook: WebhookId; count: number }[] = []
    /** In hand. */
    const held = counts([...inHand.values()].flatMap(({ row }) => [row.tenant, row.webhook]))
    // An unknown webhook's rows and a suspended tenant's wait: they are not theirs to lose.
    const tenantOf = (webhook: WebhookId) => {
      const tenant = copy.get(webhook)?.tenant
      return tenant === undefined || copy.isSuspended(tenant) ? undefined : tenant
    }
    const webhooksOf = counts(
      waiting.map(({ webhook, claimable }) => (claimable ? tenantOf(webhook) : undefined)).filter((tenant) => tenant !== undefined),
    )
    const perTenant = Math.min(mostOfTenant, Math.ceil(mostInHand / Math.max(1, webhooksOf.size)))
    for (const { webhook, claimable } of waiting) {
      if (left <= 0) break
      last = webhook
      const tenant = tenantOf(webhook)
      if (!claimable || tenant === undefined) continue
      const perWebhook = Math.ceil(perTenant / (webhooksOf.get(tenant) ?? 1))
      const [ofTenant, ofWebhook] = [held.get(tenant) ?? 0, held.get(webhook) ?? 0]
      const count = Math.min(left, perTenant - ofTenant, perWebhook - ofWebhook, slots.claimableRows(webhook, tenant))
      if (count <= 0) continue
      held.set(tenant, ofTenant + count)
      rooms.push({ webhook, count })
      left -= count
    }
    return { rooms, last }
  }
  /** Tells the slots who has parked rows, once all webhooks have been looked at since the first. */
  const noteParked = (waiting: readonly { webhook: WebhookId; parked: boolean }[], isLast: boolean) => {
    if (cursor === '') seenParked = new Set()
    for (const { webhook, parked } of waiting) if (parked) seenParked.add(webhook)
    if (!isLast) return
    slots.setParkedWebhooks(seenParked)
    parkedNow = seenParked
  }

  const one = async (row: Claimed, state: Delivery | null, sealedBody: Buffer | null, hand: InHand) => {
    try {
      if (isOver(state, row)) {
        await untilDone(() => step('schedule.done', () => schedule.done(row)), {
          onError: (error, delayMs) => log.warn({ error, delayMs }, 'schedule.done_failed'),
        })
        return
      }
      const held = () => performance.now() < hand.until - requestMs
      await untilDone(() => deliver(row, { fromTable: true, parked_at: row.parked_at, sealedBody, held }), {
        onError: (error, delayMs) => log.error({ error, delayMs, delivery: row.delivery }, 'delivery.failed'),
      })
    } finally {
      inHand.delete(keyOf(row))
      // The next rows are fetched while the last of these are still under way.
      const isRoom = () => inHand.size * 2 <= claimedLast || slots.claimableRows(row.webhook, row.tenant) * 2 >= claimedLast
      if (parkedNow.has(row.webhook) && isRoom()) wake.notify()
    }
  }
  const round = async (): Promise<void> => {
    // Whose turn is next must not be lost while nothing may be claimed.
    if (inHand.size < mostInHand) {
      await claimNext()
      if (cursor !== '') return
    }
    await wake.wait(pollMs, signal)
  }
  const claimNext = async (): Promise<void> => {
    await copy.freshen()
    const waiting = await schedule.waiting(cursor, webhooksPerRound)
    noteParked(waiting, waiting.length < webhooksPerRound)
    const { rooms, last } = roomsFor(waiting)
    const lookedAtAll = last === (waiting.at(-1)?.webhook ?? '')
    cursor = lookedAtAll && waiting.length < webhooksPerRound ? '' : last
    const asked = performance.now()
    // One that is in hand already is a claim of ours that had run out: whoever has it in hand goes on.
    const rows = (await step('schedule.claim', () => schedule.claim(rooms))).filter((row) => !inHand.has(keyOf(row)))
    if (rows.length === 0) return
    claimedLast = rows.length
    const hands = rows.map((row): InHand => ({ row, until: asked + claimMs }))
    for (const hand of hands) inHand.set(keyOf(hand.row), hand)
    try {
      // What a row was matched with, perhaps by another process, this one's copy must have too: the look begins after the claim.
      const [states, bodies] = await Promise.all([deliveryLog.states(rows), deliveryLog.bodies(rows), copy.refresh()])
      rows.forEach((row, i) => void one(row, states[i] ?? null, bodies[i] ?? null, hands[i]!))
    } catch (error) {
      for (const { row } of hands) inHand.delete(keyOf(row))
      // What fails here is often what failed above: until it works, or the rows would lie idle until the claims run out.
      await untilDone(() => schedule.release(rows), {
        signal,
        onError: (cause, delayMs) => log.warn({ error: cause, delayMs }, 'claims.release_failed'),
      })
      throw error
    }
  }
  const keepClaims = async () => {
    await pause(claimMs / 4, renewing.signal)
    const hands = [...inHand.values()]
    const asked = performance.now()
    const kept = await step('schedule.renew', () => schedule.renew(hands.map(({ row }): DeliveryRef => row)))
    hands.forEach((hand, i) => {
      // Another process has it: nothing of it may be sent here any more.
      hand.until = kept[i] ? asked + claimMs : Number.NEGATIVE_INFINITY
    })
  }
  const renewing = new AbortController()
  const claims = keepRunning(keepClaims, {
    signal: renewing.signal,
    onError: (error, delayMs) => log.warn({ error, delayMs }, 'claims.renew_failed'),
  })
  await keepRunning(round, { signal, onError: (error, delayMs) => log.warn({ error, delayMs }, 'due.failed') })
  while (inHand.size > 0) await pause(20)
  renewing.abort()
  await claims
}
