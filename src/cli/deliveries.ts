import { listDeadLettersQuery, listHistoryQuery } from '../api/schemas/delivery.ts'
import { requestQuery } from '../api/schemas/request.ts'
import { commandName } from './command-name.ts'
import { attemptLines, deliveryState, urlsOf } from './outcome.ts'
import type { Session } from './session.ts'
import { type Row, rowOf, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

/** Returns deliveries as a table that names the callback URLs. */
export async function deliveriesTable(deliveries: readonly Row[], session: Session): Promise<string> {
  const urlOf = await urlsOf(
    session,
    deliveries.map(({ webhook_id }) => webhook_id),
  )
  return table(
    deliveries.map((delivery) => [
      textOf(delivery.accepted_at),
      textOf(delivery.id),
      textOf(delivery.event_id),
      textOf(delivery.event),
      urlOf(delivery.webhook_id),
      textOf(delivery.status),
      textOf(delivery.attempt_count),
      textOf(delivery.last_reason ?? delivery.last_response_code),
    ]),
    ['accepted at', 'delivery', 'event id', 'event', 'callback_url', 'status', 'attempts', 'last result'],
  )
}

export const verbs: readonly Verb[] = [
  {
    name: 'deliveries',
    description: 'list the deliveries of a webhook, newest first',
    method: 'GET',
    path: '/v1/webhooks/:id/deliveries',
    query: listHistoryQuery,
    ids: { id: 'webhook' },
    format: async ({ data }, session) => deliveriesTable(rowsOf(data), session),
  },
  {
    name: 'delivery',
    description: 'show a delivery and its attempts',
    method: 'GET',
    path: '/v1/deliveries/:id',
    async format({ data }, session) {
      const delivery = rowOf(data)
      const urlOf = await urlsOf(session, [delivery.webhook_id])
      return [
        `${textOf(delivery.accepted_at)}  ${textOf(delivery.event_id)}  ${textOf(delivery.event)}`,
        `└ ${urlOf(delivery.webhook_id)}  ${deliveryState(delivery)}`,
        ...attemptLines(delivery),
      ].join('\n')
    },
  },
  {
    name: 'request',
    description: 'show the request of an attempt, byte for byte as it was sent',
    method: 'GET',
    path: '/v1/deliveries/:id/request',
    query: requestQuery,
    ids: { id: 'delivery' },
    format({ data }) {
      const { url, headers, body } = rowOf(data)
      const lines = Object.entries(rowOf(headers)).map(([name, value]) => `${name}: ${textOf(value)}`)
      return [`POST ${textOf(url)}`, ...lines, '', body === null ? '(the payload has expired)' : textOf(body)].join('\n')
    },
  },
  {
    name: 'dead-letters',
    description: 'list deliveries that ended in failure, newest first',
    method: 'GET',
    path: '/v1/dead-letters',
    query: listDeadLettersQuery,
    format: async ({ data }, session) => deliveriesTable(rowsOf(data), session),
  },
  {
    name: 'replay',
    description: 'send a delivery again, to the present URL and signed with the present secret',
    method: 'POST',
    path: '/v1/deliveries/:id/replay',
    ids: { id: 'delivery' },
    format: async ({ data }, session) =>
      `${await deliveriesTable([rowOf(data)], session)}\naccepted; to see its attempts: ${commandName} delivery ${textOf(rowOf(data).id)}`,
  },
]
