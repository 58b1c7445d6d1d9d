import { type Row, rowOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

export function jobText(job: Row): string {
  const state = job.reason === null ? textOf(job.status) : `${textOf(job.status)} (${textOf(job.reason)})`
  const row = [job.id, job.webhook_id, state, job.since, job.until, job.replayed, job.skipped].map(textOf)
  return table([row], ['id', 'webhook', 'state', 'since', 'until', 'replayed', 'skipped'])
}
const path = '/v1/jobs/:id'

export const verbs: readonly Verb[] = [
  { name: 'jobs show', description: 'show the progress of a job', method: 'GET', path, format: ({ data }) => jobText(rowOf(data)) },
  {
    name: 'jobs cancel',
    description: 'cancel a job; deliveries that it has already replayed continue',
    method: 'DELETE',
    path,
    format: () => 'cancelled',
  },
]
