import { listJobsQuery } from '../api/schemas/job.ts'
import { type Row, rowOf, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const jobsTable = (jobs: readonly Row[]): string =>
  table(
    jobs.map((job) => {
      const state = job.reason === null ? textOf(job.status) : `${textOf(job.status)} (${textOf(job.reason)})`
      return [job.id, job.webhook_id, state, job.since, job.until, job.replayed, job.skipped].map(textOf)
    }),
    ['id', 'webhook', 'state', 'since', 'until', 'replayed', 'skipped'],
  )
export const jobText = (job: Row): string => jobsTable([job])
const path = '/v1/jobs/:id'

export const verbs: readonly Verb[] = [
  {
    name: 'jobs list',
    description: 'list replay jobs, newest first',
    method: 'GET',
    path: '/v1/jobs',
    query: listJobsQuery,
    format: ({ data }) => jobsTable(rowsOf(data)),
  },
  { name: 'jobs show', description: 'show the progress of a job', method: 'GET', path, format: ({ data }) => jobText(rowOf(data)) },
  {
    name: 'jobs cancel',
    description: 'cancel a job; deliveries that it has already replayed continue',
    method: 'DELETE',
    path,
    format: () => 'cancelled',
  },
]
