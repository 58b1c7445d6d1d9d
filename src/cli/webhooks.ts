import { atMomentQuery, listVersionsQuery } from '../api/schemas/history.ts'
import { replayWebhook } from '../api/schemas/job.ts'
import { changeWebhook, createWebhook, listWebhooksQuery, rotateSecret } from '../api/schemas/webhook.ts'
import { commandName } from './command-name.ts'
import { versionsTable } from './history.ts'
import { replayText } from './jobs.ts'
import { type Row, rowOf, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const webhooksTable = (webhooks: readonly Row[]) =>
  table(
    webhooks.map((webhook) => [
      textOf(webhook.id),
      textOf(webhook.event),
      webhook.is_active === true
        ? webhook.failing_since === null
          ? 'active'
          : `failing since ${textOf(webhook.failing_since)}`
        : `inactive (${textOf(webhook.deactivation_reason)})`,
      textOf(webhook.callback_url),
    ]),
    ['id', 'event', 'state', 'callback_url'],
  )
const path = '/v1/webhooks/:id'
const optionNames = { is_active: 'active' }

export const verbs: readonly Verb[] = [
  {
    name: 'webhooks list',
    description: 'list webhooks, newest first',
    method: 'GET',
    path: '/v1/webhooks',
    query: listWebhooksQuery,
    optionNames,
    rows: 100,
    format: ({ data }) => webhooksTable(rowsOf(data)),
  },
  { name: 'webhooks show', description: 'show one webhook', method: 'GET', path, query: atMomentQuery },
  {
    name: 'webhooks create',
    description: "create a webhook; <event> is an exact name, a prefix such as 'order.*', or '*'. The secret is shown only now",
    method: 'POST',
    path: '/v1/webhooks',
    body: createWebhook,
    arguments: ['callback_url', 'event'],
    optionNames,
  },
  {
    name: 'webhooks update',
    description: 'change a webhook; fields without an option stay as they are',
    method: 'PATCH',
    path,
    body: changeWebhook,
    optionNames,
  },
  {
    name: 'webhooks delete',
    description: 'delete a webhook; its pending deliveries are discarded',
    method: 'DELETE',
    path,
    format: () => 'deleted',
  },
  {
    name: 'webhooks rotate-secret',
    description: 'give a webhook a new secret; requests are also signed with the former one during the overlap',
    method: 'POST',
    path: `${path}/secret/rotate`,
    body: rotateSecret,
    optionNames: { overlap_seconds: 'overlap' },
    format: ({ data }) => `secret  ${textOf(rowOf(data).secret)}`,
  },
  {
    name: 'webhooks test',
    description: 'send the event kolbak.test to this webhook alone',
    method: 'POST',
    path: `${path}/test`,
    format: ({ data }) => `sent ${textOf(rowOf(data).id)}; to see its delivery: ${commandName} trace ${textOf(rowOf(data).id)}`,
  },
  {
    name: 'webhooks replay',
    description: 'send again the deliveries that the webhook missed, to the present URL and signed with the present secret',
    method: 'POST',
    path: `${path}/replay`,
    body: replayWebhook,
    format: ({ data }) => replayText(rowOf(data)),
  },
  {
    name: 'webhooks history',
    description: 'list every change of a webhook, with its time and author (needs the scope read:audit)',
    method: 'GET',
    path: `${path}/history`,
    query: listVersionsQuery,
    rows: 100,
    format: ({ data }) => versionsTable(rowsOf(data)),
  },
]
