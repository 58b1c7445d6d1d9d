import type { Command } from 'commander'
import { type Job, showJob } from './jobs.ts'
import { action, table } from './session.ts'

interface Webhook {
  id: string
  callback_url: string
  event: string
  is_active: boolean
  deactivation_reason: string | null
  secret?: string
}
const show = (webhooks: readonly Webhook[]) =>
  table(
    webhooks.map((w) => [w.id, w.event, w.is_active ? 'active' : `inactive (${w.deactivation_reason})`, w.callback_url]),
    ['id', 'event', 'state', 'callback_url'],
  )
const path = (id: string) => `/v1/webhooks/${encodeURIComponent(id)}`

export function webhooksCommand(program: Command) {
  const webhooks = program.command('webhooks').description('subscriptions: a callback URL and the events it wants')
  webhooks
    .command('list', { isDefault: true })
    .description('list them, newest first')
    .action(
      action(async (session) => {
        session.show(await session.call<{ data: Webhook[] }>('GET', '/v1/webhooks?limit=100'), ({ data }) => show(data))
      }),
    )
  webhooks
    .command('show <id>')
    .description('one of them')
    .action(
      action(async (session, id: string) => {
        session.show(await session.call<Webhook>('GET', path(id)), (webhook) => show([webhook]))
      }),
    )
  webhooks
    .command('create <callback_url> <event>')
    .description("subscribe; event is an exact name, 'order.*' or '*'. The secret is shown this once")
    .option('--description <text>')
    .option('--inactive', 'without any deliveries until it is activated')
    .action(
      action(async (session, url: string, event: string, { description, inactive }: { description?: string; inactive?: boolean }) => {
        const made = await session.call<Webhook>('POST', '/v1/webhooks', { callback_url: url, event, description, is_active: !inactive })
        session.show(made, (webhook) => `${show([webhook])}\nsecret  ${webhook.secret}`)
      }),
    )
  webhooks
    .command('update <id>')
    .description('change it')
    .option('--callback-url <url>')
    .option('--event <event>')
    .option('--description <text>')
    .option('--active <true|false>')
    .action(
      action(async (session, id: string, o: { callback_url?: string; event?: string; description?: string; active?: string }) => {
        const change = {
          callback_url: o.callback_url,
          event: o.event,
          description: o.description,
          is_active: o.active === undefined ? undefined : o.active === 'true',
        }
        session.show(await session.call<Webhook>('PATCH', path(id), change), (webhook) => show([webhook]))
      }),
    )
  webhooks
    .command('delete <id>')
    .description('end it; what is still owed to it is discarded')
    .action(
      action(async (session, id: string) => {
        await session.call('DELETE', path(id))
        session.show({ deleted: id }, () => `deleted ${id}`)
      }),
    )
  webhooks
    .command('test <id>')
    .description('send the event kolbak.test to it alone')
    .action(
      action(async (session, id: string) => {
        session.show(
          await session.call<{ data: { id: string } }>('POST', `${path(id)}/test`),
          ({ data }) => `sent ${data.id}: see kolbak deliveries ${id}`,
        )
      }),
    )
  webhooks
    .command('replay <id>')
    .description("send it again what ended in failure, to today's URL and with today's secret")
    .requiredOption('--since <time>', 'accepted at or after; RFC 3339')
    .option('--until <time>', 'accepted before; default now')
    .option('--status <status>', 'instead of failed and discarded ones: pending, retrying, success, failed or discarded')
    .action(
      action(async (session, id: string, range: { since: string; until?: string; status?: string }) => {
        session.show(
          await session.call<{ data: Job }>('POST', `${path(id)}/replay`, range),
          ({ data }) => `${showJob(data)}\nsee kolbak jobs show ${data.id}`,
        )
      }),
    )
  webhooks
    .command('rotate-secret <id>')
    .description('a new secret; the former one signs too while the overlap lasts')
    .option('--overlap <seconds>', 'how long', '86400')
    .action(
      action(async (session, id: string, { overlap }: { overlap: string }) => {
        const rotated = await session.call<Webhook>('POST', `${path(id)}/secret/rotate`, { overlap_seconds: Number(overlap) })
        session.show(rotated, ({ secret }) => `secret  ${secret}`)
      }),
    )
}
