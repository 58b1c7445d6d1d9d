import type { Command } from 'commander'
import type { Delivery } from './deliveries.ts'
import { action } from './session.ts'

interface Event {
  id: string
  event: string
  status: string
  accepted_at: string
}

export const traceCommand = (program: Command) =>
  program
    .command('trace <event-id>')
    .description('what became of an event: each delivery with its attempts; with --webhook, why it did or did not reach that one')
    .option('--webhook <id>', 'explain for this webhook (scope read:audit)')
    .action(
      action(async (session, id: string, { webhook }: { webhook?: string }) => {
        const path = `/v1/events/${encodeURIComponent(id)}`
        if (webhook !== undefined) {
          const answer = await session.call<{ data: Record<string, unknown> }>(
            'GET',
            `${path}/explain?webhook=${encodeURIComponent(webhook)}`,
          )
          session.show(answer, ({ data }) => JSON.stringify(data, null, 2))
          return
        }
        const { data: event } = await session.call<{ data: Event }>('GET', path)
        const deliveries = await session.pages<Delivery>(`${path}/deliveries`, {}, 1_000)
        session.show({ event, deliveries }, () =>
          [
            `${event.accepted_at}  ${event.id}  ${event.event}  accepted, ${event.status}`,
            ...deliveries.flatMap((delivery) => [
              `└ webhook ${delivery.webhook_id}: ${delivery.status}`,
              ...(delivery.attempts ?? []).map(
                (a) =>
                  `    ${a.at}  ${a.chain > 1 ? `replay ${a.chain - 1}, ` : ''}attempt ${a.number}  ${a.status} ${a.response_code ?? a.reason ?? ''}  ${a.duration_ms} ms`,
              ),
              ...(delivery.next_attempt_at === null ? [] : [`    ${delivery.next_attempt_at}  next attempt`]),
            ]),
          ].join('\n'),
        )
      }),
    )
