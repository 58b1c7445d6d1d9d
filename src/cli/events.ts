import { readFileSync } from 'node:fs'
import { listQuery } from '../api/schemas/delivery.ts'
import { listEventsQuery, postEvent, postEvents, replayEvent } from '../api/schemas/event.ts'
import { explainQuery } from '../api/schemas/explain.ts'
import { asOfQuery } from '../api/schemas/history.ts'
import { messageStreamQuery } from '../api/schemas/stream.ts'
import { commandName } from './command-name.ts'
import { deliveriesTable } from './deliveries.ts'
import { UsageError } from './errors.ts'
import { JsonText, memberText } from './json-text.ts'
import { attemptLines, deliveryState, outcomeOf, rejectionOf, urlsOf } from './outcome.ts'
import { tail } from './tail.ts'
import { countOf, details, type Row, rowOf, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const eventsTable = (events: readonly Row[]) =>
  table(
    events.map((event) => [
      textOf(event.accepted_at),
      textOf(event.id),
      textOf(event.event),
      [outcomeOf(event), rejectionOf(event)].filter((words) => words !== undefined).join('; '),
    ]),
    ['accepted at', 'id', 'event', 'what became of it'],
  )
const path = '/v1/events/:id'

export const verbs: readonly Verb[] = [
  {
    name: 'send',
    description: `post an event; example: ${commandName} send order.created '{"order": 7}'`,
    method: 'POST',
    path: '/v1/events',
    body: postEvent,
    arguments: ['event', '[payload]'],
    defaults: { payload: new JsonText('{}') },
    format: ({ data }) => `accepted ${textOf(rowOf(data).id)}`,
  },
  {
    name: 'send-batch',
    description:
      'post up to 1,000 events at once: either all of them are accepted, or none. The file has a list in JSON, or one event per line',
    method: 'POST',
    path: '/v1/events/batch',
    body: postEvents,
    arguments: ['events'],
    run: (session, { path: route, body }) => session.call('POST', route, `{"events":${(body.events as JsonText).text}}`),
    format: ({ data }) => `accepted ${countOf(rowsOf(data).length, 'event')}`,
    parsers: { events: readEvents },
  },
  {
    name: 'events list',
    description: 'list events, newest first, with what became of each',
    method: 'GET',
    path: '/v1/events',
    query: listEventsQuery,
    format: ({ data }) => eventsTable(rowsOf(data)),
  },
  {
    name: 'events tail',
    description: 'watch events live: one line for each event, until you press Ctrl-C',
    method: 'GET',
    path: '/v1/events/stream',
    query: messageStreamQuery,
    run: (session, { path: route, query }) =>
      tail(session, route, query, (item) =>
        [item.at, item.status, item.event, item.id, countOf(Number(item.webhook_count), 'webhook')].map(textOf).join('  '),
      ),
  },
  {
    name: 'events show',
    description: 'show an event with its payload',
    method: 'GET',
    path,
    query: asOfQuery,
    format({ data, text }) {
      const { payload, payload_reason, rejections, deliveries, has_rejections, status, ...event } = rowOf(data)
      const rejection = rejectionOf({ rejections, has_rejections })
      return [
        details({ ...event, outcome: outcomeOf({ status, deliveries }) }),
        ...(rejection === undefined ? [] : [`! ${rejection}`]),
        payload === null
          ? payload_reason === 'payload_erased'
            ? 'The payload was erased.'
            : 'The payload is no longer kept.'
          : memberText(memberText(text, 'data') ?? '{}', 'payload'),
      ].join('\n')
    },
  },
  {
    name: 'events deliveries',
    description: 'list the deliveries of an event',
    method: 'GET',
    path: `${path}/deliveries`,
    query: listQuery,
    format: async ({ data }, session) => deliveriesTable(rowsOf(data), session),
  },
  {
    name: 'events replay',
    description: 'send an event again to the webhooks that it was routed to',
    method: 'POST',
    path: `${path}/replay`,
    body: replayEvent,
    optionNames: { webhook_id: 'webhook' },
    format: async ({ data }, session) => deliveriesTable(rowsOf(data), session),
  },
  {
    name: 'events erase-payload',
    description: 'erase the payload of an event for good, and show what remains elsewhere. The audit log keeps who did it',
    method: 'DELETE',
    path: `${path}/payload`,
  },
  {
    name: 'events explain',
    description: 'explain why an event did or did not reach a webhook (needs the scope read:audit)',
    method: 'GET',
    path: `${path}/explain`,
    query: explainQuery,
    arguments: ['webhook'],
    format({ data }) {
      const { explanation, next, reason, delivery, webhook_then } = rowOf(data)
      const { callback_url } = rowOf(webhook_then)
      return [
        `${textOf(explanation)} (${textOf(reason)})`,
        ...(callback_url === undefined ? [] : [`  ${textOf(callback_url)}`]),
        ...(delivery === null ? [] : attemptLines(rowOf(delivery))),
        textOf(next),
      ].join('\n')
    },
  },
  {
    name: 'trace',
    description: 'show what became of an event: its deliveries and every attempt',
    method: 'GET',
    path,
    ids: { id: 'event-id' },
    async run(session, { path: route }) {
      const event = await session.call('GET', route)
      const deliveries = await session.pages(`${route}/deliveries`, {}, 1_000)
      return { data: { event: event.data, deliveries: deliveries.data }, pagination: deliveries.pagination, text: event.text }
    },
    async format({ data }, session) {
      const event = rowOf(rowOf(data).event)
      const deliveries = rowsOf(rowOf(data).deliveries)
      const rejection = rejectionOf(event)
      const urlOf = await urlsOf(
        session,
        deliveries.map(({ webhook_id }) => webhook_id),
      )
      return [
        `${textOf(event.accepted_at)}  ${textOf(event.id)}  ${textOf(event.event)}  accepted: ${outcomeOf(event)}`,
        ...(rejection === undefined ? [] : [`! ${rejection}`]),
        ...deliveries.flatMap((delivery, i) => [
          `${i === deliveries.length - 1 ? '└' : '├'} ${urlOf(delivery.webhook_id)}  ${deliveryState(delivery)}  (delivery ${textOf(delivery.id)})`,
          ...attemptLines(delivery),
        ]),
      ].join('\n')
    },
  },
]

/** Reads the events of a file: a list in JSON, or one event per line. @param file its path, or `-` for the standard input */
function readEvents(file: string): JsonText {
  let text: string
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8').trim()
  } catch (error) {
    throw new UsageError(`The file ${file} cannot be read: ${(error as Error).message}.`)
  }
  const list = text.startsWith('[')
    ? text
    : `[${text
        .split(/\r?\n/)
        .filter((line) => line.trim() !== '')
        .join(',')}]`
  try {
    JSON.parse(list)
  } catch (error) {
    throw new UsageError(`The file ${file} has neither a list in JSON nor one event in JSON per line: ${(error as Error).message}.`)
  }
  return new JsonText(list)
}
