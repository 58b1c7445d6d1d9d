import type { Pool } from 'pg'
import { Counter, type Registry } from 'prom-client'
import { replay } from '../commands/replay.ts'
import {
  type ActiveJob,
  createReplayJobs,
  deliveryFilterOf,
  endedInFailure,
  type ReplayJobs,
  type ReplayPage,
} from '../commands/replay-jobs.ts'
import type { WebhookId } from '../events/ids.ts'
import { isErased } from '../events/sealed-body.ts'
import { step } from '../events/steps.ts'
import { dayFamilies } from '../events/streams.ts'
import { mapBounded } from '../lib/bounded.ts'
import { codeOf } from '../lib/errors.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { LeaseKeeper } from '../lib/leases.ts'
import type { Log } from '../lib/log.ts'
import type { Notices } from '../lib/notices.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import { createWake, untilPoll } from '../lib/wake.ts'
import type { BodyArchive, Delivery, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import { projectionNames } from '../projections/names.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import { findWebhook } from '../projections/webhooks.ts'

export interface ReplayingDeps {
  readonly store: Pick<EventStore, 'append' | 'head'>
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & Pick<DeliveryReads, 'history' | 'states'>
  readonly pool: Pool
  readonly keyring: Keyring
  readonly macs: Pick<EventMacs, 'replayMacOf'>
  readonly waiter: ProjectionWaiter
  readonly leases: Pick<LeaseKeeper, 'take'>
  /** The notice `jobs` announces a new job. */
  readonly notices: Notices
  readonly registry: Registry
  readonly log: Log
  /** Milliseconds since 1970. */
  now(): number
}

/** The number of deliveries on one page. */
const pageSize = 100
/** A job waits while its webhook has more rows than this in `scheduled_deliveries` that are due now or parked. */
const maxScheduled = 1_000
/** Milliseconds after which jobs that had to wait are tried again. */
const waitMs = 500
/** Codes of errors for which a later try is useless. The job then fails, with the code as its reason. */
const finalCodes: ReadonlySet<string | undefined> = new Set(['history_too_wide', 'key_destroyed'])

/**
 * Carries out replay jobs, in one process at a time: one page of each job, then the next page of each job, and so on.
 *
 * A page lists deliveries and their new chains. It is stored before its first event is appended, so that a process which finds it after a crash
 * appends the same events. The next page starts after the last delivery of the previous one, in an order that does not depend on the status. It is
 * chosen only once the history has all appended events. So each delivery is considered once, with its status at that moment.
 */
export function startReplaying(deps: ReplayingDeps): { stop(): Promise<void> } {
  const { leases, notices, log } = deps
  const replaying = new Replaying(deps)
  const stopping = new AbortController()
  const { signal } = stopping
  const wake = createWake()
  const stopListening = notices.on('jobs', wake.notify)
  const work = async () => {
    if (!(await replaying.hasJobs())) return wake.wait(untilPoll(Math.max(waitMs, notices.pollMs)), signal)
    const lease = await leases.take('replay jobs')
    if (lease !== null)
      try {
        const mayGoOn = () => lease.isHeld() && !signal.aborted
        while (mayGoOn() && (await replaying.replayPages(mayGoOn)));
      } finally {
        await lease.release()
      }
    await pause(waitMs, signal)
  }
  const running = keepRunning(work, { signal, onError: (error, delayMs) => log.warn({ error, delayMs }, 'replay_jobs.failed') })
  return {
    async stop() {
      stopping.abort()
      stopListening()
      await running
    },
  }
}

class Replaying {
  private readonly deps: ReplayingDeps
  private readonly jobs: ReplayJobs
  private readonly replayed: Counter

  constructor(deps: ReplayingDeps) {
    this.deps = deps
    this.jobs = createReplayJobs(deps.pool)
    this.replayed = new Counter({
      name: 'kolbak_deliveries_replayed_total',
      help: 'Deliveries that replay jobs have replayed.',
      registers: [deps.registry],
    })
  }
  async hasJobs(): Promise<boolean> {
    return (await this.jobs.active()).length > 0
  }
  /** Replays one page of each job. Returns whether a job may have another page now. */
  async replayPages(mayGoOn: () => boolean): Promise<boolean> {
    const active = await this.jobs.active()
    if (active.length === 0 || !(await this.isHistoryUpToDate())) return false
    let hasMore = false
    for (const job of active) {
      if (!mayGoOn()) return false
      if (await this.replayPage(job)) hasMore = true
    }
    return hasMore
  }

  private async isHistoryUpToDate(): Promise<boolean> {
    const { store, waiter } = this.deps
    const head = await store.head(dayFamilies)
    return head === null || waiter.waitFor(projectionNames.deliveries, head, 5_000)
  }
  /** Returns whether the job may have another page now. A failure is logged and returns false, so that the other jobs continue. */
  private async replayPage(job: ActiveJob): Promise<boolean> {
    try {
      const page = job.page ?? (await this.planPage(job))
      if (page === null) return false
      await this.carryOut(job, page)
      return true
    } catch (error) {
      const code = codeOf(error)
      if (job.page === null && code !== undefined && finalCodes.has(code)) await this.end(job, 'failed', code)
      else this.deps.log.warn({ error, job: job.id }, 'replay_job.page_failed')
      return false
    }
  }
  /** Chooses and stores the next page. Returns null if the job has ended or has to wait. */
  private async planPage(job: ActiveJob): Promise<ReplayPage | null> {
    const { tenant, webhook } = job
    const state = await findWebhook(this.deps, { tenant }, webhook)
    if (state === null) return this.end(job, 'failed', 'webhook_deleted')
    if (!state.is_active) return this.end(job, 'failed', 'webhook_inactive')
    const deliveries = await this.nextDeliveries(job)
    if (deliveries.length === 0) return this.end(job, 'completed', null)
    if (await this.hasManyScheduled(webhook)) return null
    const page = {
      time: new Date(this.deps.now()).toISOString(),
      webhookRevision: state.revision,
      deliveries: deliveries.map(({ accepted_at, delivery, chain }) => ({ accepted_at, delivery, chain: chain + 1 })),
    }
    return (await this.jobs.plan(job, page)) ? page : null
  }
  private async nextDeliveries(job: ActiveJob): Promise<Delivery[]> {
    const { tenant, webhook, since, until, cursor, delivery_status } = job
    const query = { tenant, since, until, limit: pageSize, ...deliveryFilterOf(job), ...(cursor === null ? {} : { after: cursor }) }
    const statuses = delivery_status === null ? endedInFailure : [delivery_status]
    const lists = await Promise.all(statuses.map((status) => this.deps.deliveryLog.history(webhook, { ...query, status })))
    // A delivery whose status changes between the two queries can be in both lists.
    const byId = new Map(lists.flat().map((delivery) => [delivery.delivery, delivery]))
    return [...byId.values()].sort(newestFirst).slice(0, pageSize)
  }
  /** Counts due and parked rows. Retries that are not due yet do not count, because a replay is often meant to bring them forward. */
  private async hasManyScheduled(webhook: WebhookId): Promise<boolean> {
    const limit = maxScheduled + 1
    const rows = await sqlOn(this.deps.pool)`
      (select 1 from scheduled_deliveries where webhook = ${webhook} and due_at <= now() limit ${limit})
      union all
      (select 1 from scheduled_deliveries where webhook = ${webhook} and due_at is null limit ${limit})
      limit ${limit}`
    return rows.length > maxScheduled
  }
  /** Appends the events of a page, except for deliveries whose body has expired or was erased. */
  private async carryOut(job: ActiveJob, { time, webhookRevision, deliveries }: ReplayPage): Promise<void> {
    const { store, deliveryLog } = this.deps
    const states = await deliveryLog.states(deliveries.map((delivery) => ({ ...delivery, webhook: job.webhook })))
    const chainsInHistory = states.flatMap((delivery, i) => (delivery === null ? [] : [{ delivery, chain: deliveries[i]!.chain }]))
    const bodies = await deliveryLog.bodies(chainsInHistory.map(({ delivery }) => delivery))
    const replayable = chainsInHistory.filter((_, i) => bodies[i] != null && !isErased(bodies[i]))
    await mapBounded(replayable, pageSize, ({ delivery, chain }) => {
      const { stream, event } = replay(delivery, { chain, caller: job, webhookRevision, now: time, cause: causeOf(job) }, this.deps.macs)
      return step('replay.append', () => store.append(stream, [event], 'any', { patient: true, since: time }))
    })
    const counts = { replayed: replayable.length, skipped: deliveries.length - replayable.length }
    if (await this.jobs.done(job, counts)) this.replayed.inc(counts.replayed)
  }
  private async end(job: ActiveJob, status: 'completed' | 'failed', reason: string | null): Promise<null> {
    if (await this.jobs.end(job, { status, reason })) {
      const { id, tenant, webhook, replayed, skipped } = job
      this.deps.log.info({ job: id, tenant, webhook, status, reason, replayed, skipped }, 'replay_job.ended')
    }
    return null
  }
}

const newestFirst = (a: Delivery, b: Delivery): number => {
  if (a.accepted_at !== b.accepted_at) return a.accepted_at < b.accepted_at ? 1 : -1
  return a.delivery < b.delivery ? 1 : -1
}

/** Returns the cause that the events of a job name: the job, and the request that asked for it. A job of version 0.2 has no request. */
const causeOf = ({ id, request_id }: ActiveJob) => ({ ...(request_id === null ? {} : { request_id }), job: id })
