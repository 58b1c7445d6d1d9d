import { createReplayJobs, type ReplayJob } from '../../commands/replay-jobs.ts'
import { findWebhook } from '../../projections/webhooks.ts'
import { readJobCursor, writeJobCursor } from '../cursors.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid, notFound, webhookInactive } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { parseJobId, parseWebhookId } from '../ids.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent } from '../route-results.ts'
import { cursorPagination, defaultLimit, envelope, envelopeExample, idOf, listOf } from '../schemas/common.ts'
import { jobHeaders } from '../schemas/headers.ts'
import { job, listJobsQuery, type ReplayWebhook, replayWebhook } from '../schemas/job.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { parseUtc } from '../time-range.ts'
import { ownerOf } from '../webhook-views.ts'

const tag = 'Jobs'
const credentials = 'bearer-or-key'

/** The routes for work that takes longer than a request. The API starts a job here, and a dispatcher carries it out. */
export function createJobRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const { log } = deps
  const jobs = createReplayJobs(deps.pool)
  const findJob = async (request: Identity & { params: { id: string } }): Promise<ReplayJob> => {
    const row = await jobs.find(ownerOf(request), parseJobId(request.params.id))
    if (row === null) throw notFound()
    return row
  }

  return [
    replayWebhookRoute(deps),
    guardedRoute({
      method: 'GET',
      path: '/v1/jobs',
      operationId: 'listJobs',
      summary: 'List jobs, newest first',
      description: 'Returns the replay jobs of the account with their progress. A job that ended is kept for the retention time.',
      tag,
      credentials,
      scope: 'read:webhooks',
      query: listJobsQuery,
      errors: ['invalid_cursor'],
      responses: { 200: { description: 'A page of jobs.', schema: envelope(listOf(job), cursorPagination) } },
      async handler(request) {
        const { webhook, status, cursor, limit = defaultLimit } = request.query
        const rows = await jobs.list(ownerOf(request), {
          ...(webhook === undefined ? {} : { webhook }),
          ...(status === undefined ? {} : { status }),
          ...(cursor === undefined ? {} : { after: readJobCursor(cursor) }),
          limit: limit + 1,
        })
        const page = rows.slice(0, limit)
        const last = page.at(-1)
        const next_cursor = rows.length > limit && last !== undefined ? writeJobCursor(last.id) : null
        return envelopeResult(200, page.map(jobView), {}, { limit, next_cursor })
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/jobs/:id',
      operationId: 'getJob',
      summary: 'Read the progress of a job',
      description: 'Returns how far a job is: how many deliveries it has replayed, and whether it still runs.',
      params: { id: idOf('job') },
      tag,
      credentials,
      scope: 'read:webhooks',
      responses: {
        200: {
          description: 'The job.',
          schema: envelope(job),
          example: envelopeExample(exampleOf(job, { status: 'completed', finished_at: '2026-03-31T12:30:02.000Z' })),
        },
      },
      handler: async (request) => envelopeResult(200, jobView(await findJob(request))),
    }),
    guardedRoute({
      method: 'DELETE',
      path: '/v1/jobs/:id',
      operationId: 'cancelJob',
      summary: 'Cancel a job; deliveries that it has already replayed continue',
      description:
        'Stops a job before it replays more deliveries. A job that is cancelled already stays cancelled, so the request can be repeated.',
      params: { id: idOf('job') },
      tag,
      credentials,
      scope: 'write:webhooks',
      errors: ['job_finished'],
      responses: { 204: { description: 'The job is cancelled, by this request or an earlier one.' } },
      async handler(request) {
        const { id, tenant, webhook, replayed, skipped } = await findJob(request)
        if (await jobs.cancel(id)) log.info({ job: id, tenant, webhook, status: 'cancelled', replayed, skipped }, 'replay_job.ended')
        else if ((await findJob(request)).status !== 'cancelled')
          throw new ApiError('job_finished', 'The job has already ended: there is nothing to cancel.')
        return noContent()
      },
    }),
  ]
}

function replayWebhookRoute(deps: ApiDependencies & { newUlid(): string }): Route {
  const { log, now, newUlid } = deps
  const jobs = createReplayJobs(deps.pool)
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
    scope: 'write:webhooks',
    body: replayWebhook,
    example: { since: '2026-03-31T00:00:00Z', until: '2026-03-31T12:00:00Z', status: 'failed' },
    errors: ['webhook_inactive', 'replay_running'],
    responses: {
      202: {
        description: 'A job, which replays the deliveries. The newest events come first.',
        schema: envelope(job),
        example: envelopeExample(exampleOf(job, { replayed: 0 })),
        headers: jobHeaders,
      },
    },
    async handler(request) {
      const { body, caller } = request
      const { tenant, actor } = caller
      const id = parseWebhookId(request.params.id)
      const webhook = await findWebhook(deps, ownerOf(request), id)
      if (webhook === null) throw notFound()
      if (!webhook.is_active) throw webhookInactive()
      const planned = await request.plan(() => ({ id: parseJobId(newUlid()), time: new Date(now()).toISOString() }))
      const { since, until } = replayRange(body, planned.time)
      const started = await jobs.begin({
        id: planned.id,
        tenant,
        webhook: id,
        key_id: webhook.key_id,
        actor,
        request_id: request.kolbakRequestId,
        since,
        until,
        delivery_status: body.status ?? null,
      })
      if (started === null)
        throw new ApiError('replay_running', 'A replay of this webhook is running: wait until it has ended, or cancel it.')
      deps.notices.tell('jobs')
      log.info({ job: started.id, tenant, webhook: id, since, until }, 'replay_job.begun')
      return envelopeResult(202, jobView(started), { location: `/v1/jobs/${started.id}` })
    },
  })
}

/** Returns the times between which events are replayed: no later than `now`, which is also the default end. */
function replayRange(body: ReplayWebhook, now: string): { since: string; until: string } {
  const since = parseUtc('since', body.since)
  const requestedUntil = body.until === undefined ? null : parseUtc('until', body.until)
  const until = requestedUntil === null || requestedUntil > now ? now : requestedUntil
  if (since >= until) throw invalid([{ path: 'since', message: `must be before ${requestedUntil === until ? 'until' : 'now'}` }])
  return { since, until }
}

const jobView = (row: ReplayJob) => ({
  id: row.id,
  type: 'replay',
  webhook_id: row.webhook,
  status: row.status,
  reason: row.reason,
  since: row.since,
  until: row.until,
  delivery_status: row.delivery_status,
  replayed: row.replayed,
  skipped: row.skipped,
  created_at: row.created_at,
  updated_at: row.updated_at,
  finished_at: row.finished_at,
})
