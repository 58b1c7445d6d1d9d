import type { Command } from 'commander'
import { table, withSession } from './session.ts'

interface Attempt {
  number: number
  chain: number
  at: string
  status: string
  response_code: number | null
  duration_ms: number | null
  reason: string | null
  reason_detail: string | null
}
export interface Delivery {
  id: string
  event_id: string
  webhook_id: string
  event: string
  status: string
  accepted_at: string
  attempt_count: number
  next_attempt_at: string | null
  last_response_code: number | null
  last_reason: string | null
  attempts?: Attempt[]
}
const formatDeliveries = (deliveries: readonly Delivery[]) =>
  table(
    deliveries.map((delivery) => [
      delivery.accepted_at,
      delivery.id,
      delivery.event_id,
      delivery.event,
      delivery.status,
      String(delivery.attempt_count),
      String(delivery.last_reason ?? delivery.last_response_code ?? ''),
    ]),
    ['accepted at', 'delivery', 'event id', 'event', 'status', 'attempts', 'last result'],
  )

export function deliveriesCommand(program: Command) {
  program
    .command('deliveries <webhook>')
    .description('list the deliveries of a webhook, newest first')
    .option('--status <status>', 'pending, retrying, success, failed or discarded')
    .option('--since <time>', 'accepted at this RFC 3339 time or later')
    .option('--until <time>', 'accepted before this RFC 3339 time')
    .option('--limit <n>', 'the most rows to list', '20')
    .action(
      withSession(async (session, webhook: string, options: { status?: string; since?: string; until?: string; limit: string }) => {
        const { limit, ...query } = options
        const path = `/v1/webhooks/${encodeURIComponent(webhook)}/deliveries`
        session.show(await session.pages<Delivery>(path, query, Number(limit)), formatDeliveries)
      }),
    )
  program
    .command('dead-letters')
    .description('list deliveries that ended in failure, newest first')
    .option('--webhook <id>', 'only those of this webhook')
    .option('--since <time>', 'ended at this RFC 3339 time or later')
    .option('--limit <n>', 'the most rows to list', '20')
    .action(
      withSession(async (session, options: { webhook?: string; since?: string; limit: string }) => {
        const { limit, ...query } = options
        session.show(await session.pages<Delivery>('/v1/dead-letters', query, Number(limit)), formatDeliveries)
      }),
    )
  program
    .command('replay <delivery>')
    .description('send a delivery again, to the present URL and signed with the present secret')
    .action(
      withSession(async (session, delivery: string) => {
        const response = await session.call<{ data: Delivery }>('POST', `/v1/deliveries/${encodeURIComponent(delivery)}/replay`)
        session.show(response, ({ data }) => formatDeliveries([data]))
      }),
    )
}
