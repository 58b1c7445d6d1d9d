import type { Command } from 'commander'
import { action, table } from './session.ts'

export interface Attempt {
  number: number
  chain: number
  at: string
  status: string
  response_code: number | null
  duration_ms: number | null
  reason: string | null
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
export const showDeliveries = (deliveries: readonly Delivery[]) =>
  table(
    deliveries.map((d) => [
      d.accepted_at,
      d.id,
      d.event_id,
      d.event,
      d.status,
      String(d.attempt_count),
      String(d.last_reason ?? d.last_response_code ?? ''),
    ]),
    ['accepted at', 'delivery', 'event id', 'event', 'status', 'attempts', 'last answer'],
  )

export function deliveriesCommand(program: Command) {
  program
    .command('deliveries <webhook>')
    .description("a webhook's history, newest first")
    .option('--status <status>', 'pending, retrying, success, failed or discarded')
    .option('--since <time>', 'RFC 3339')
    .option('--until <time>', 'RFC 3339')
    .option('--limit <n>', 'how many', '20')
    .action(
      action(async (session, webhook: string, o: { status?: string; since?: string; until?: string; limit: string }) => {
        const { limit, ...query } = o
        session.show(
          await session.pages<Delivery>(`/v1/webhooks/${encodeURIComponent(webhook)}/deliveries`, query, Number(limit)),
          showDeliveries,
        )
      }),
    )
  program
    .command('dead-letters')
    .description('deliveries that ended in failure, newest first')
    .option('--webhook <id>')
    .option('--since <time>', 'RFC 3339')
    .option('--limit <n>', 'how many', '20')
    .action(
      action(async (session, o: { webhook?: string; since?: string; limit: string }) => {
        const { limit, ...query } = o
        session.show(await session.pages<Delivery>('/v1/dead-letters', query, Number(limit)), showDeliveries)
      }),
    )
  program
    .command('replay <delivery>')
    .description("send a delivery again, to today's URL and with today's secret")
    .action(
      action(async (session, delivery: string) => {
        session.show(await session.call<{ data: Delivery }>('POST', `/v1/deliveries/${encodeURIComponent(delivery)}/replay`), ({ data }) =>
          showDeliveries([data]),
        )
      }),
    )
}
