import type { Command } from 'commander'
import type { Delivery } from './deliveries.ts'
import { withSession } from './session.ts'

interface Event {
  id: string
  event: string
  status: string
  accepted_at: string
}

function formatTrace(event: Event, deliveries: readonly Delivery[]): string {
  const lines = [`${event.accepted_at}  ${event.id}  ${event.event}  accepted, ${event.status}`]
  for (const delivery of deliveries) {
    lines.push(`└ webhook ${delivery.webhook_id}: ${delivery.status}`)
    for (const { at, chain, number, status, response_code, reason, reason_detail, duration_ms } of delivery.attempts ?? []) {
      const replay = chain > 1 ? `replay ${chain - 1}, ` : ''
      lines.push(`    ${at}  ${replay}attempt ${number}  ${status} ${response_code ?? reason ?? ''}  ${duration_ms} ms`)
      if (reason_detail !== null) lines.push(`      ${reason_detail}`)
    }
    if (delivery.next_attempt_at !== null) lines.push(`    ${delivery.next_attempt_at}  next attempt`)
  }
  return lines.join('\n')
}

export const traceCommand = (program: Command) =>
  program
    .command('trace <event-id>')
    .description('show the deliveries of an event and their attempts; with --webhook, why the event was or was not sent to that webhook')
    .option('--webhook <id>', 'explain whether this webhook got the event (needs the scope read:audit)')
    .action(
      withSession(async (session, id: string, { webhook }: { webhook?: string }) => {
        const path = `/v1/events/${encodeURIComponent(id)}`
        if (webhook !== undefined) {
          const explanation = await session.call<{ data: unknown }>('GET', `${path}/explain?webhook=${encodeURIComponent(webhook)}`)
          session.show(explanation, ({ data }) => JSON.stringify(data, null, 2))
          return
        }
        const { data: event } = await session.call<{ data: Event }>('GET', path)
        const deliveries = await session.pages<Delivery>(`${path}/deliveries`, {}, 1_000)
        session.show({ event, deliveries }, () => formatTrace(event, deliveries))
      }),
    )
