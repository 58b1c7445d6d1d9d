import type { Command } from 'commander'
import { formatJob, type Job } from './jobs.ts'
import { table, withSession } from './session.ts'

interface Webhook {
  id: string
  callback_url: string
  event: string
  is_active: boolean
  deactivation_reason: string | null
  secret?: string
}
const formatWebhooks = (webhooks: readonly Webhook[]) =>
  table(
    webhooks.map((webhook) => [
      webhook.id,
      webhook.event,
      webhook.is_active ? 'active' : `inactive (${webhook.deactivation_reason})`,
      webhook.callback_url,
    ]),
    ['id', 'event', 'state', 'callback_url'],
  )
const pathOf = (id: string) => `/v1/webhooks/${encodeURIComponent(id)}`

export function webhooksCommand(program: Command) {
  const webhooks = program.command('webhooks').description('manage webhooks: a callback URL and the events that are sent to it')
  addReadCommands(webhooks)
  addChangeCommands(webhooks)
  addActionCommands(webhooks)
}

function addReadCommands(webhooks: Command) {
  webhooks
    .command('list', { isDefault: true })
    .description('list the 100 newest webhooks, newest first')
    .action(
      withSession(async (session) => {
        session.show(await session.call<{ data: Webhook[] }>('GET', '/v1/webhooks?limit=100'), ({ data }) => formatWebhooks(data))
      }),
    )
  webhooks
    .command('show <id>')
    .description('show one webhook')
    .action(
      withSession(async (session, id: string) => {
        session.show(await session.call<Webhook>('GET', pathOf(id)), (webhook) => formatWebhooks([webhook]))
      }),
    )
}

function addChangeCommands(webhooks: Command) {
  webhooks
    .command('create <callback_url> <event>')
    .description("create a webhook; <event> is an exact name, a prefix such as 'order.*', or '*'. The secret is shown only now")
    .option('--description <text>', 'a note for people')
    .option('--inactive', 'create it inactive: nothing is delivered until it is activated')
    .action(
      withSession(async (session, url: string, event: string, { description, inactive }: { description?: string; inactive?: boolean }) => {
        const body = { callback_url: url, event, description, is_active: !inactive }
        const created = await session.call<Webhook>('POST', '/v1/webhooks', body)
        session.show(created, (webhook) => `${formatWebhooks([webhook])}\nsecret  ${webhook.secret}`)
      }),
    )
  webhooks
    .command('update <id>')
    .description('change a webhook; fields without an option stay as they are')
    .option('--callback-url <url>', 'the new callback URL')
    .option('--event <event>', "an exact name, a prefix such as 'order.*', or '*'")
    .option('--description <text>', 'a note for people')
    .option('--active <true|false>', 'activate or deactivate the webhook')
    .action(
      withSession(async (session, id: string, options: { callbackUrl?: string; event?: string; description?: string; active?: string }) => {
        const change = {
          callback_url: options.callbackUrl,
          event: options.event,
          description: options.description,
          is_active: options.active === undefined ? undefined : options.active === 'true',
        }
        session.show(await session.call<Webhook>('PATCH', pathOf(id), change), (webhook) => formatWebhooks([webhook]))
      }),
    )
  webhooks
    .command('delete <id>')
    .description('delete a webhook; its pending deliveries are discarded')
    .action(
      withSession(async (session, id: string) => {
        await session.call('DELETE', pathOf(id))
        session.show({ deleted: id }, () => `deleted ${id}`)
      }),
    )
  webhooks
    .command('rotate-secret <id>')
    .description('give a webhook a new secret; requests are also signed with the former one during the overlap')
    .option('--overlap <seconds>', 'how long the former secret still signs, in seconds', '86400')
    .action(
      withSession(async (session, id: string, { overlap }: { overlap: string }) => {
        const rotated = await session.call<Webhook>('POST', `${pathOf(id)}/secret/rotate`, { overlap_seconds: Number(overlap) })
        session.show(rotated, ({ secret }) => `secret  ${secret}`)
      }),
    )
}

function addActionCommands(webhooks: Command) {
  webhooks
    .command('test <id>')
    .description('send the event kolbak.test to this webhook alone')
    .action(
      withSession(async (session, id: string) => {
        session.show(
          await session.call<{ data: { id: string } }>('POST', `${pathOf(id)}/test`),
          ({ data }) => `sent ${data.id}; to see its delivery: kolbak deliveries ${id}`,
        )
      }),
    )
  webhooks
    .command('replay <id>')
    .description('deliver again what failed, to the present URL and signed with the present secret')
    .requiredOption('--since <time>', 'events that were accepted at this RFC 3339 time or later')
    .option('--until <time>', 'events that were accepted before this time (default: now)')
    .option('--status <status>', 'pending, retrying, success, failed or discarded (default: failed and discarded deliveries)')
    .action(
      withSession(async (session, id: string, range: { since: string; until?: string; status?: string }) => {
        session.show(
          await session.call<{ data: Job }>('POST', `${pathOf(id)}/replay`, range),
          ({ data }) => `${formatJob(data)}\nto see its progress: kolbak jobs show ${data.id}`,
        )
      }),
    )
}
