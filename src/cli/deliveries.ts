import { listDeadLettersQuery, listDeliveriesQuery, listHistoryQuery, listProblemsQuery } from '../api/schemas/delivery.ts'
import { asOfQuery } from '../api/schemas/history.ts'
import { requestQuery } from '../api/schemas/request.ts'
import { statisticsQuery } from '../api/schemas/statistics.ts'
import { deliveryStreamQuery } from '../api/schemas/stream.ts'
import { commandName } from './command-name.ts'
import { attemptLines, deliveryState, urlsOf } from './outcome.ts'
import type { Session } from './session.ts'
import { tail } from './tail.ts'
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

/** Returns the counts of each span, or with `--by` of each webhook, and the totals in the last line. */
async function statisticsTable({ spans, webhooks, totals }: Row, session: Session): Promise<string> {
  const byWebhook = rowsOf(webhooks)
  const urlOf = await urlsOf(
    session,
    byWebhook.map(({ webhook_id }) => webhook_id),
  )
  const lines: [string, Row][] =
    byWebhook.length > 0
      ? byWebhook.map((row) => [urlOf(row.webhook_id), rowOf(row.totals)])
      : rowsOf(spans).map((span) => [textOf(span.at), span])
  return table(
    [...lines, ['total', rowOf(totals)] as const].map(([name, counts]) => [name, ...shownCounts.map((count) => textOf(counts[count]))]),
    [byWebhook.length > 0 ? 'callback_url' : 'from', ...shownCounts],
  )
}
const shownCounts = ['accepted', 'success', 'retrying', 'failed', 'discarded', 'replayed', 'p50_ms', 'p95_ms', 'p99_ms']

const pairs = (row: Row): string =>
  Object.entries(row)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${textOf(value)}`)
    .join(', ')

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
    name: 'undelivered',
    description: 'list the deliveries that have not arrived, of all webhooks, newest first',
    method: 'GET',
    path: '/v1/deliveries',
    query: listDeliveriesQuery,
    format: async ({ data }, session) => deliveriesTable(rowsOf(data), session),
  },
  {
    name: 'delivery',
    description: 'show a delivery and its attempts',
    method: 'GET',
    path: '/v1/deliveries/:id',
    query: asOfQuery,
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
    name: 'timeline',
    description: 'show where the time of a delivery went: routing, waits, and the steps of each request',
    method: 'GET',
    path: '/v1/deliveries/:id/timeline',
    ids: { id: 'delivery' },
    format({ data }) {
      const { accepted_at, routed_at, attempts } = rowOf(data)
      return [
        `accepted  ${textOf(accepted_at)}`,
        `routed    ${textOf(routed_at)}`,
        ...rowsOf(attempts).flatMap(({ at, chain, number, waited, timings, response_headers }) => [
          `attempt   ${textOf(at)}  ${textOf(chain)}.${textOf(number)}`,
          ...(waited === null ? [] : [`          waited ${textOf(rowOf(waited).ms)} ms (${textOf(rowOf(waited).reason)})`]),
          ...(timings === null ? [] : [`          ${pairs(rowOf(timings))}`]),
          ...(response_headers === null ? [] : [`          ${pairs(rowOf(response_headers))}`]),
        ]),
      ].join('\n')
    },
  },
  {
    name: 'tail',
    description: 'watch deliveries live: one line for each attempt, until you press Ctrl-C',
    method: 'GET',
    path: '/v1/deliveries/stream',
    query: deliveryStreamQuery,
    run: (session, { path, query }) =>
      tail(session, path, query, (item) =>
        [item.at, item.status, item.event, item.id, item.response_code ?? item.reason, `attempt ${textOf(item.attempt)}`]
          .map(textOf)
          .join('  '),
      ),
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
    name: 'problems',
    description: 'show what the deliveries that ended in failure have in common',
    method: 'GET',
    path: '/v1/problems',
    query: listProblemsQuery,
    async format({ data }, session) {
      const { count, is_complete, groups } = rowOf(data)
      const problems = rowsOf(groups)
      const urlOf = await urlsOf(
        session,
        problems.map(({ webhook_id }) => webhook_id),
      )
      const lines = table(
        problems.map((problem) => [
          textOf(problem.count),
          textOf(problem.reason),
          textOf(problem.event),
          urlOf(problem.webhook_id),
          textOf(problem.first_at),
          textOf(problem.last_at),
          textOf(problem.sample),
        ]),
        ['count', 'result', 'event', 'callback_url', 'first', 'last', 'latest delivery'],
      )
      const total = `${is_complete === true ? '' : 'more than '}${textOf(count)} deliveries ended in failure`
      return problems.length === 0 ? total : `${lines}\n${total}; to replay them: ${commandName} replay-missed --help`
    },
  },
  {
    name: 'statistics',
    description: 'count accepted events and attempts over time',
    method: 'GET',
    path: '/v1/statistics/deliveries',
    query: statisticsQuery,
    format: async ({ data }, session) => statisticsTable(rowOf(data), session),
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
