import type { Command } from 'commander'
import { action } from './session.ts'

export const sendCommand = (program: Command) =>
  program
    .command('send <event> [payload]')
    .description(`post an event: kolbak send order.created '{"order": 7}'`)
    .option('--id <id>', 'your own id: the same id is delivered once')
    .option('--source <source>')
    .option('--event-time <time>', 'RFC 3339')
    .action(
      action(async (session, event: string, payload: string | undefined, o: { id?: string; source?: string; event_time?: string }) => {
        const raw = payload ?? '{}'
        JSON.parse(raw) // a mistake is told here
        const head = JSON.stringify({ id: o.id, event, source: o.source, event_time: o.event_time })
        const body = `${head.slice(0, -1)},"payload":${raw}}` // as it was typed: 1.10 stays 1.10
        session.show(await session.call<{ data: { id: string } }>('POST', '/v1/events', body), ({ data }) => `accepted ${data.id}`)
      }),
    )
