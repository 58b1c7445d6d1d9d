import type { Pool } from 'pg'
import { Counter, type Registry } from 'prom-client'
import { replay } from '../commands/replay.ts'
import { type ActiveJob, createReplayJobs, type ReplayPage } from '../commands/replay-jobs.ts'
import type { DeliveryStatus } from '../events/delivery.ts'
import type { WebhookId } from '../events/ids.ts'
import { mapBounded } from '../lib/bounded.ts'
import { codeOf } from '../lib/errors.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import { step } from '../lib/points.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import type { BodyArchive, Delivery, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import { findWebhook } from '../projections/webhooks.ts'

export interface ReplayingDeps {
  readonly store: Pick<EventStore, 'append' | 'head'>
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & Pick<DeliveryReads, 'history' | 'states'>
  readonly pool: Pool
  readonly keyring: Keyring
  readonly waiter: ProjectionWaiter
  readonly leases: Pick<LeaseKeeper, 'take'>
  readonly registry: Registry
  readonly log: Log
  /** Milliseconds. */
  now(): number
}

/** What is begun at once. */
const pageSize = 100
/** A webhook that is owed more than this, due or parked, is waited for. */
const mostOwed = 1_000
const everyMs = 500
const endedInFailure: readonly DeliveryStatus[] = ['failed', 'discarded']
/** What no later try makes good: the job ends, and says so. */
const endingCodes: ReadonlySet<string | undefined> = new Set(['history_too_wide', 'key_destroyed'])

const newestFirst = (a: Delivery, b: Delivery): number => {
  if (a.accepted_at !== b.accepted_at) return a.accepted_at < b.accepted_at ? 1 : -1
  return a.delivery < b.delivery ? 1 : -1
}

/**
 * Carries out replay jobs, in one process at a time, a page of each in turn.
 *
 * A page names deliveries and the chains that begin, and is stored before the first of its events is appended: whoever finds
 * it after a crash appends the same events again, whatever the history shows by then. The next page is looked for after the
 * last delivery of the one before, in an order that no change of a status changes, and only once the history has all that
 * was appended. So each delivery is met once, and its status is that of the moment it is met.
 */
export function startReplaying(deps: ReplayingDeps): { stop(): Promise<void> } {
  const { store, deliveryLog, pool, waiter, leases, registry, log, now } = deps
  const jobs = createReplayJobs(pool)
  const counter = new Counter({
    name: 'kolbak_deliveries_replayed_total',
    help: 'Deliveries that replay jobs have begun anew.',
    registers: [registry],
  })
  const stop = new AbortController()

  const isHistoryThere = async (): Promise<boolean> => {
    const head = await store.head(['routing', 'attempts'])
    return head === null || waiter.waitFor('deliveries', head, 1_000)
  }
  /** Retries that are not due do not count: a job that is to hasten them would wait for them. */
  const isOwedMuch = async (webhook: WebhookId): Promise<boolean> => {
    const rows = await sqlOn(pool)`
      (select 1 from scheduled_deliveries where webhook = ${webhook} and due_at <= now() limit ${mostOwed + 1})
      union all
      (select 1 from scheduled_deliveries where webhook = ${webhook} and due_at is null limit ${mostOwed + 1})
      limit ${mostOwed + 1}`
    return rows.length > mostOwed
  }
  const end = async (job: ActiveJob, status: 'completed' | 'failed', reason: string | null = null): Promise<null> => {
    if (await jobs.end(job, { status, reason })) {
      const { id, tenant, webhook, replayed, skipped } = job
      log.info({ job: id, tenant, webhook, status, reason, replayed, skipped }, 'replay_job.ended')
    }
    return null
  }
  /** The next page, once it is stored; null when there is none now. */
  const choose = async (job: ActiveJob): Promise<ReplayPage | null> => {
    const { tenant, webhook, since, until, cursor, delivery_status } = job
    const state = await findWebhook(deps, { tenant }, webhook)
    if (state === null) return end(job, 'failed', 'webhook_deleted')
    if (!state.is_active) return end(job, 'failed', 'webhook_inactive')
    const query = { tenant, since, until, limit: pageSize, ...(cursor === null ? {} : { after: cursor }) }
    const lists = await Promise.all(
      (delivery_status === null ? endedInFailure : [delivery_status]).map((status) => deliveryLog.history(webhook, { ...query, status })),
    )
    // One whose status changes meanwhile may be in both lists.
    const found = [...new Map(lists.flat().map((delivery) => [delivery.delivery, delivery])).values()].sort(newestFirst).slice(0, pageSize)
    if (found.length === 0) return end(job, 'completed')
    if (await isOwedMuch(webhook)) return null
    const page = {
      time: new Date(now()).toISOString(),
      webhookRevision: state.revision,
      deliveries: found.map(({ accepted_at, delivery, chain }) => ({ accepted_at, delivery, chain: chain + 1 })),
    }
    return (await jobs.plan(job, page)) ? page : null
  }
  const carryOut = async (job: ActiveJob, { time, webhookRevision, deliveries }: ReplayPage): Promise<void> => {
    const states = await deliveryLog.states(deliveries.map((one) => ({ ...one, webhook: job.webhook })))
    const known = states.flatMap((delivery, i) => (delivery === null ? [] : [{ delivery, chain: deliveries[i]!.chain }]))
    const bodies = await deliveryLog.bodies(known.map(({ delivery }) => delivery))
    const kept = known.filter((_, i) => bodies[i] != null)
    await mapBounded(kept, pageSize, ({ delivery, chain }) => {
      const { stream, event } = replay(delivery, { chain, caller: job, webhookRevision, now: time })
      return step('replay.append', () => store.append(stream, [event], 'any', { patient: true }))
    })
    if (await jobs.done(job, { replayed: kept.length, skipped: deliveries.length - kept.length })) counter.inc(kept.length)
  }
  /** Whether there may be more to do for it at once. */
  const turn = async (job: ActiveJob): Promise<boolean> => {
    try {
      const page = job.page ?? (await choose(job))
      if (page === null) return false
      await carryOut(job, page)
      return true
    } catch (error) {
      const code = codeOf(error)
      if (job.page === null && code !== undefined && endingCodes.has(code)) await end(job, 'failed', code)
      else log.warn({ error, job: job.id }, 'replay_job.turn_failed') // the others are not to wait for it
      return false
    }
  }
  const round = async (isMine: () => boolean): Promise<boolean> => {
    const active = await jobs.active()
    if (active.length === 0 || !(await isHistoryThere())) return false
    let isThereMore = false
    for (const job of active) {
      if (!isMine()) return false
      if (await turn(job)) isThereMore = true
    }
    return isThereMore
  }
  const work = async () => {
    const lease = (await jobs.active()).length > 0 ? await leases.take('replay jobs') : null
    if (lease !== null)
      try {
        const isMine = () => lease.held() && !stop.signal.aborted
        while (isMine() && (await round(isMine)));
      } finally {
        await lease.release()
      }
    await pause(everyMs, stop.signal)
  }
  const loop = keepRunning(work, { signal: stop.signal, onError: (error, delayMs) => log.warn({ error, delayMs }, 'replay_jobs.failed') })
  return {
    async stop() {
      stop.abort()
      await loop
    },
  }
}
