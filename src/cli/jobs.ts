import type { Command } from 'commander'
import { table, withSession } from './session.ts'

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
export function formatJob(job: Job): string {
  const state = job.reason === null ? job.status : `${job.status} (${job.reason})`
  const row = [job.id, job.webhook_id, state, job.since, job.until, String(job.replayed), String(job.skipped)]
  return table([row], ['id', 'webhook', 'state', 'since', 'until', 'replayed', 'skipped'])
}
const pathOf = (id: string) => `/v1/jobs/${encodeURIComponent(id)}`

export function jobsCommand(program: Command) {
  const jobs = program.command('jobs').description('show and cancel replay jobs, which kolbak webhooks replay starts')
  jobs
    .command('show <id>')
    .description('show the progress of a job')
    .action(
      withSession(async (session, id: string) => {
        session.show(await session.call<{ data: Job }>('GET', pathOf(id)), ({ data }) => formatJob(data))
      }),
    )
  jobs
    .command('cancel <id>')
    .description('cancel a job; deliveries that it has already replayed continue')
    .action(
      withSession(async (session, id: string) => {
        await session.call('DELETE', pathOf(id))
        session.show({ cancelled: id }, () => `cancelled ${id}`)
      }),
    )
}
