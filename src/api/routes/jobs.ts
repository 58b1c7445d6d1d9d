import { createReplayJobs, type ReplayJob } from '../../commands/replay-jobs.ts'
import { findWebhook } from '../../projections/webhooks.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid, notFound, webhookInactive } from '../errors.ts'
import { parseJobId, parseWebhookId } from '../ids.ts'
import { guardedRoute, type Identity, type Route } from '../route.ts'
import { envelopeResult, noContent } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { jobHeaders } from '../schemas/headers.ts'
import { job, replayWebhook } from '../schemas/job.ts'
import { utc } from '../time-range.ts'
import { ownerOf } from '../webhook-views.ts'

const view = (row: ReplayJob) => ({
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

/** What takes longer than a request: it is begun here, and carried out by a dispatcher. */
export function createJobRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const { pool, log, now, newUlid } = deps
  const jobs = createReplayJobs(pool)
  const tag = 'Jobs'
  const credentials = 'bearer-or-key'
  const find = async (request: Identity & { params: { id: string } }): Promise<ReplayJob> => {
    const found = await jobs.find(ownerOf(request), parseJobId(request.params.id))
    if (found === null) throw notFound()
    return found
  }

  return [
    guardedRoute({
      method: 'POST',
      path: '/v1/webhooks/:id/replay',
      operationId: 'replayWebhook',
      idempotent: true,
      summary: 'Deliver again what a webhook missed: the same event ids, the URL and secret of today',
      tag,
      credentials,
      scope: 'write:webhooks',
      body: replayWebhook,
      errors: ['webhook_inactive', 'replay_running'],
      responses: { 202: { description: 'A job that does so, newest events first.', schema: envelope(job), headers: jobHeaders } },
      async handler(request) {
        const { body, caller } = request
        const id = parseWebhookId(request.params.id)
        const webhook = await findWebhook(deps, ownerOf(request), id)
        if (webhook === null) throw notFound()
        if (!webhook.is_active) throw webhookInactive()
        const since = utc('since', body.since)
        const wanted = body.until === undefined ? null : utc('until', body.until)
        const chosen = await request.plan(() => ({ id: parseJobId(newUlid()), time: new Date(now()).toISOString() }))
        const until = wanted === null || wanted > chosen.time ? chosen.time : wanted
        if (since >= until) throw invalid([{ path: 'since', message: `must be before ${wanted === until ? 'until' : 'now'}` }])
        const begun = await jobs.begin({
          ...{ id: chosen.id, tenant: caller.tenant, webhook: id, key_id: webhook.key_id, actor: caller.actor, since, until },
          delivery_status: body.status ?? null,
        })
        if (begun === null) throw new ApiError('replay_running', 'A replay of this webhook is running: wait for its end, or cancel it.')
        log.info({ job: begun.id, tenant: caller.tenant, webhook: id, since, until }, 'replay_job.begun')
        return envelopeResult(202, view(begun), { location: `/v1/jobs/${begun.id}` })
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/jobs/:id',
      operationId: 'getJob',
      summary: 'Read how far a job is',
      tag,
      credentials,
      scope: 'read:webhooks',
      responses: { 200: { description: 'The job.', schema: envelope(job) } },
      handler: async (request) => envelopeResult(200, view(await find(request))),
    }),
    guardedRoute({
      method: 'DELETE',
      path: '/v1/jobs/:id',
      operationId: 'cancelJob',
      summary: 'Cancel a job; what it has begun goes on',
      tag,
      credentials,
      scope: 'write:webhooks',
      errors: ['job_finished'],
      responses: { 204: { description: 'Cancelled, now or before.' } },
      async handler(request) {
        const { id, tenant, webhook, replayed, skipped } = await find(request)
        if (await jobs.cancel(id)) log.info({ job: id, tenant, webhook, status: 'cancelled', replayed, skipped }, 'replay_job.ended')
        else if ((await find(request)).status !== 'cancelled')
          throw new ApiError('job_finished', 'The job is over already: there is nothing to cancel.')
        return noContent()
      },
    }),
  ]
}
