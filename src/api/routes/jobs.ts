import { createReplayJobs, type ReplayJob } from '../../commands/replay-jobs.ts'
import { readJobCursor, writeJobCursor } from '../cursors.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { parseJobId } from '../ids.ts'
import { jobView } from '../job-view.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent } from '../route-results.ts'
import { cursorPagination, defaultLimit, envelope, envelopeExample, idOf, listOf } from '../schemas/common.ts'
import { job, listJobsQuery } from '../schemas/job.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { ownerOf } from '../webhook-views.ts'

const tag = 'Jobs'
const credentials = 'bearer-or-key'

/** The routes that show and cancel jobs, which `replays.ts` starts. */
export function createJobRoutes(deps: ApiDependencies): Route[] {
  const { log } = deps
  const jobs = createReplayJobs(deps.pool)
  const findJob = async (request: Identity & { params: { id: string } }): Promise<ReplayJob> => {
    const row = await jobs.find(ownerOf(request), parseJobId(request.params.id))
    if (row === null) throw notFound()
    return row
  }

  return [
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
