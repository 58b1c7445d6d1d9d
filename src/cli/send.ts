import type { Command } from 'commander'
import { withSession } from './session.ts'

export const sendCommand = (program: Command) =>
  program
    .command('send <event> [payload]')
    .description(`post an event; example: kolbak send order.created '{"order": 7}'`)
    .option('--id <id>', 'the id of the event; an id that is sent again is not delivered again (default: a new id)')
    .option('--source <source>', 'the system that the event comes from')
    .option('--event-time <time>', 'when the event happened, as an RFC 3339 time')
    .action(
      withSession(
        async (session, event: string, payload: string | undefined, options: { id?: string; source?: string; eventTime?: string }) => {
          const rawPayload = payload ?? '{}'
          JSON.parse(rawPayload) // `JSON.parse` throws for invalid JSON before anything is sent.
          const head = JSON.stringify({ id: options.id, event, source: options.source, event_time: options.eventTime })
          // The payload is sent as it was typed, so that 1.10 does not become 1.1.
          const body = `${head.slice(0, -1)},"payload":${rawPayload}}`
          session.show(await session.call<{ data: { id: string } }>('POST', '/v1/events', body), ({ data }) => `accepted ${data.id}`)
        },
      ),
    )
