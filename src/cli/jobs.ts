import { listJobsQuery, replayDeliveries } from '../api/schemas/job.ts'
import { commandName } from './command-name.ts'
import { type Row, rowOf, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const jobsTable = (jobs: readonly Row[]): string =>
  table(
    jobs.map((job) => {
      const state = job.reason === null ? textOf(job.status) : `${textOf(job.status)} (${textOf(job.reason)})`
      return [job.id, job.webhook_id, state, job.since, job.until, job.expected, job.replayed, job.skipped].map(textOf)
    }),
    ['id', 'webhook', 'state', 'since', 'until', 'expected', 'replayed', 'skipped'],
  )
const jobText = (job: Row): string => jobsTable([job])
const path = '/v1/jobs/:id'

/** Returns the text about a replay that was started, or about what it would replay. */
export function replayText(data: Row): string {
  if ('without_payload' in data) return previewText(data)
  if (!('jobs' in data)) return `${jobText(data)}\nto see its progress: ${commandName} jobs show ${textOf(data.id)}`
  const skipped = rowsOf(data.skipped).map(({ webhook_id, reason }) => `webhook ${textOf(webhook_id)} is left out: ${textOf(reason)}`)
  const jobs = rowsOf(data.jobs)
  return [
    ...(jobs.length === 0 ? ['nothing to replay'] : [jobsTable(jobs), `to see their progress: ${commandName} jobs`]),
    ...skipped,
  ].join('\n')
}
function previewText({ count, is_complete, without_payload, oldest, newest, webhooks }: Row): string {
  if (count === 0) return 'nothing would be replayed'
  const prefix = is_complete === true ? '' : 'more than '
  return [
    `${prefix}${textOf(count)} deliveries to ${textOf(webhooks)} webhooks would be replayed`,
    `their events were accepted from ${textOf(oldest)} to ${textOf(newest)}`,
    `${textOf(without_payload)} of them would be skipped, because their payload has expired`,
  ].join('\n')
}

export const verbs: readonly Verb[] = [
  {
    name: 'replay-missed',
    description: 'send again the deliveries that all or some webhooks missed; each webhook gets a job',
    method: 'POST',
    path: '/v1/replays',
    body: replayDeliveries,
    format: ({ data }) => replayText(rowOf(data)),
  },
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
