import { createReplayJobs, type ReplayJob } from '../../commands/replay-jobs.ts'
import type { WebhookId } from '../../events/ids.ts'
import { findWebhook, listWebhooks, type WebhookRow } from '../../projections/webhooks.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid, notFound, webhookInactive } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { parseJobId, parseWebhookId } from '../ids.ts'
import { jobView } from '../job-view.ts'
import { countMatches, previewReplay, type ReplayFilter, webhooksWithMatches } from '../replay-matches.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type RawRequest, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope, envelopeExample, idOf } from '../schemas/common.ts'
import { jobHeaders } from '../schemas/headers.ts'
import { job, type ReplayWebhook, replayDeliveries, replayPreview, replayWebhook, startedReplays } from '../schemas/job.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { utcOf } from '../time-range.ts'
import { ownerOf } from '../webhook-views.ts'

type Deps = ApiDependencies & { newUlid(): string }
const credentials = 'bearer-or-key'
const scope = 'write:webhooks'
const preview = { description: 'What would be replayed, if `dry_run` is true.', schema: envelope(replayPreview) }
/** The most webhooks among which those with missed deliveries are searched. The default limit of a tenant is lower. */
const maxWebhooks = 10_000

/** The routes that start jobs which replay deliveries. A dispatcher carries the jobs out. */
export const createReplayRoutes = (deps: Deps): Route[] => [replayWebhookRoute(deps), replayDeliveriesRoute(deps)]

function replayWebhookRoute(deps: Deps): Route {
  const { now, newUlid } = deps
  const beginJob = createBeginJob(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/webhooks/:id/replay',
    operationId: 'replayWebhook',
    idempotent: true,
    summary: 'Replay the deliveries that a webhook missed, with the same event ids, to the present URL, signed with the present secret',
    description:
      'Starts a job that replays what a webhook missed, for example after an outage of the receiver. It replays the deliveries of events that were accepted between two times. Only one job of a webhook can run at a time.',
    params: { id: idOf('webhook') },
    tag: 'Webhooks',
    credentials,
    scope,
    body: replayWebhook,
    example: { since: '2026-03-31T00:00:00Z', until: '2026-03-31T12:00:00Z', status: 'failed' },
    errors: ['webhook_inactive', 'replay_running', 'history_too_wide', 'delivery_log_unavailable'],
    responses: {
      200: preview,
      202: {
        description: 'A job, which replays the deliveries. The newest events come first.',
        schema: envelope(job),
        example: envelopeExample(exampleOf(job, { replayed: 0 })),
        headers: jobHeaders,
      },
    },
    async handler(request) {
      const { body } = request
      const id = parseWebhookId(request.params.id)
      const webhook = await findWebhook(deps, ownerOf(request), id)
      if (webhook === null) throw notFound()
      if (body.dry_run === true)
        return envelopeResult(200, await previewReplay(deps, [id], filterOf(body, request, new Date(now()).toISOString())))
      if (!webhook.is_active) throw webhookInactive()
      const planned = await request.plan(() => ({ id: newUlid(), time: new Date(now()).toISOString() }))
      const started = await beginJob(request, { id: planned.id, webhook, filter: filterOf(body, request, planned.time) })
      if (started === null)
        throw new ApiError('replay_running', 'A replay of this webhook is running: wait until it has ended, or cancel it.')
      return envelopeResult(202, jobView(started), { location: `/v1/jobs/${started.id}` })
    },
  })
}

function replayDeliveriesRoute(deps: Deps): Route {
  const { now, newUlid } = deps
  const beginJob = createBeginJob(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/replays',
    operationId: 'replayDeliveries',
    idempotent: true,
    summary: 'Replay the deliveries that all or some webhooks missed',
    description:
      'Starts a job for each webhook that has deliveries of this kind, for example after an outage of a network. Each job does the same as a replay of its webhook, and can be cancelled alone. With `dry_run`, it returns how many deliveries there are.',
    tag: 'Jobs',
    credentials,
    scope,
    body: replayDeliveries,
    example: { since: '2026-03-31T00:00:00Z', until: '2026-03-31T12:00:00Z', status: 'failed', code: 503 },
    errors: ['not_found', 'history_too_wide', 'delivery_log_unavailable'],
    responses: { 200: preview, 202: { description: 'The jobs, which replay the deliveries.', schema: envelope(startedReplays) } },
    async handler(request) {
      const { body } = request
      const webhooks = await webhooksOf(deps, request, body.webhooks)
      const ids = webhooks.map(({ id }) => id)
      if (body.dry_run === true)
        return envelopeResult(200, await previewReplay(deps, ids, filterOf(body, request, new Date(now()).toISOString())))
      const time = new Date(now()).toISOString()
      const matching = new Set(await webhooksWithMatches(deps, ids, filterOf(body, request, time)))
      const planned = await request.plan(() => ({ time, jobs: [...matching].map((webhook) => [webhook, newUlid()] as const) }))
      const filter = filterOf(body, request, planned.time)
      const jobOf = new Map(planned.jobs)
      const jobs: ReplayJob[] = []
      const skipped: { webhook_id: WebhookId; reason: 'webhook_inactive' | 'replay_running' }[] = []
      for (const webhook of webhooks.filter(({ id }) => jobOf.has(id))) {
        const started = webhook.is_active ? await beginJob(request, { id: jobOf.get(webhook.id)!, webhook, filter }) : 'inactive'
        if (started === 'inactive') skipped.push({ webhook_id: webhook.id, reason: 'webhook_inactive' })
        else if (started === null) skipped.push({ webhook_id: webhook.id, reason: 'replay_running' })
        else jobs.push(started)
      }
      return envelopeResult(202, { jobs: jobs.map(jobView), skipped } satisfies shown.StartedReplays)
    },
  })
}

/** Returns the requested webhooks, or all webhooks that the caller may see. Throws not_found if one of them is not there. */
async function webhooksOf(deps: Deps, request: Identity, requested: readonly WebhookId[] | undefined): Promise<WebhookRow[]> {
  const owner = { ...ownerOf(request), limit: maxWebhooks, offset: 0 }
  const { rows } = await listWebhooks(deps, requested === undefined ? owner : { ...owner, ids: requested })
  if (requested !== undefined && rows.length < requested.length) throw notFound()
  return rows
}

function createBeginJob(deps: Deps) {
  const jobs = createReplayJobs(deps.pool)
  /** Stores a job. Returns null while another job of the webhook runs. */
  return async (
    { caller, kolbakRequestId }: Identity & Pick<RawRequest, 'kolbakRequestId'>,
    { id, webhook, filter }: { id: string; webhook: WebhookRow; filter: ReplayFilter },
  ): Promise<ReplayJob | null> => {
    const started = await jobs.begin({
      ...filter,
      id: parseJobId(id),
      webhook: webhook.id,
      key_id: webhook.key_id,
      actor: caller.actor,
      request_id: kolbakRequestId,
      expected: await countMatches(deps, webhook.id, filter),
    })
    if (started === null) return null
    deps.notices.tell('jobs')
    const { tenant, since, until } = filter
    deps.log.info({ job: started.id, tenant, webhook: webhook.id, since, until }, 'replay_job.begun')
    return started
  }
}

/** Returns the filter of the deliveries to replay. The default end is `now`, which also takes the place of a later end. */
function filterOf(body: ReplayWebhook, { caller }: Identity, now: string): ReplayFilter {
  const since = utcOf('since', body.since)
  const requestedUntil = body.until === undefined ? null : utcOf('until', body.until)
  const until = requestedUntil === null || requestedUntil > now ? now : requestedUntil
  if (since >= until) throw invalid([{ path: 'since', message: `must be before ${requestedUntil === until ? 'until' : 'now'}` }])
  return {
    ...{ tenant: caller.tenant, since, until, delivery_status: body.status ?? null },
    ...{ delivery_event: body.event ?? null, delivery_reason: body.reason ?? null, delivery_code: body.code ?? null },
  }
}
