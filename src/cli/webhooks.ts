import { type Command, Option } from 'commander'
import { fieldsThatAre } from '../events/fields.ts'
import { type WebhookField, webhookFields } from '../events/webhook.ts'
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

interface FieldOption {
  readonly flags: string
  readonly description: string
  /** Converts the text of the option to the value of the field. By default the text itself is the value. */
  readonly parse?: (text: string) => unknown
}
/** The option of each field that a caller can give or change. */
const fieldOptions = {
  callback_url: { flags: '--callback-url <url>', description: 'the new callback URL' },
  event: { flags: '--event <event>', description: "an exact name, a prefix such as 'order.*', or '*'" },
  description: { flags: '--description <text>', description: 'a note for people' },
  is_active: { flags: '--active <true|false>', description: 'activate or deactivate the webhook', parse: (text) => text === 'true' },
  retry_delays: {
    flags: '--retry-delays <seconds>',
    description: 'seconds from each failed attempt to the next, such as 5,300,1800',
    parse: (text) => text.split(',').map(Number),
  },
  secret: { flags: '--secret <secret>', description: 'whsec_ and the base64 of 24-64 bytes (default: a random one)' },
} satisfies Readonly<Record<WebhookField<'given' | 'changeable'>, FieldOption>>
type Field = keyof typeof fieldOptions
// `create` takes the URL and the event as arguments, and `--inactive`.
const optionsOfCreate = fieldsThatAre(webhookFields, 'given').filter((field) => !['callback_url', 'event', 'is_active'].includes(field))
const optionsOfUpdate: readonly Field[] = [...fieldsThatAre(webhookFields, 'changeable'), 'is_active']

const optionOf = (field: Field) => {
  const { flags, description, parse = (text: string) => text }: FieldOption = fieldOptions[field]
  return new Option(flags, description).argParser(parse)
}
const addFieldOptions = (command: Command, fields: readonly Field[]): Command =>
  fields.reduce((withOptions, field) => withOptions.addOption(optionOf(field)), command)
/** Returns the fields whose options were given. */
const fieldsOf = (options: Readonly<Record<string, unknown>>, fields: readonly Field[]) =>
  Object.fromEntries(fields.map((field) => [field, options[optionOf(field).attributeName()]]))

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
  const create = webhooks
    .command('create <callback_url> <event>')
    .description("create a webhook; <event> is an exact name, a prefix such as 'order.*', or '*'. The secret is shown only now")
    .option('--inactive', 'create it inactive: nothing is delivered until it is activated')
  addFieldOptions(create, optionsOfCreate).action(
    withSession(async (session, callback_url: string, event: string, options: Readonly<Record<string, unknown>>) => {
      const body = { callback_url, event, ...fieldsOf(options, optionsOfCreate), is_active: options.inactive !== true }
      const created = await session.call<Webhook>('POST', '/v1/webhooks', body)
      session.show(created, (webhook) => `${formatWebhooks([webhook])}\nsecret  ${webhook.secret}`)
    }),
  )
  const update = webhooks.command('update <id>').description('change a webhook; fields without an option stay as they are')
  addFieldOptions(update, optionsOfUpdate).action(
    withSession(async (session, id: string, options: Readonly<Record<string, unknown>>) => {
      const changed = await session.call<Webhook>('PATCH', pathOf(id), fieldsOf(options, optionsOfUpdate))
      session.show(changed, (webhook) => formatWebhooks([webhook]))
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
    .description('send failed deliveries again, to the present URL and signed with the present secret')
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
