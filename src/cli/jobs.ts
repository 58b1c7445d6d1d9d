import type { Command } from 'commander'
import { action, table } from './session.ts'

export interface Job {
  id: string
  webhook_id: string
  status: string
  reason: string | null
  since: string
  until: string
  replayed: number
  skipped: number
}
export const showJob = (job: Job) =>
  table(
    [
      [
        ...[job.id, job.webhook_id, job.reason === null ? job.status : `${job.status} (${job.reason})`, job.since, job.until],
        ...[String(job.replayed), String(job.skipped)],
      ],
    ],
    ['id', 'webhook', 'state', 'since', 'until', 'replayed', 'skipped'],
  )
const path = (id: string) => `/v1/jobs/${encodeURIComponent(id)}`

export function jobsCommand(program: Command) {
  const jobs = program.command('jobs').description('replays of what a webhook missed: kolbak webhooks replay begins one')
  jobs
    .command('show <id>')
    .description('how far it is')
    .action(
      action(async (session, id: string) => {
        session.show(await session.call<{ data: Job }>('GET', path(id)), ({ data }) => showJob(data))
      }),
    )
  jobs
    .command('cancel <id>')
    .description('end it; what it has begun goes on')
    .action(
      action(async (session, id: string) => {
        await session.call('DELETE', path(id))
        session.show({ cancelled: id }, () => `cancelled ${id}`)
      }),
    )
}
