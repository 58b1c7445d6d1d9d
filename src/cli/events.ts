import type { Command } from 'commander'
import { action, table } from './session.ts'

interface Event {
  id: string
  event: string
  status: string
  accepted_at: string
}

export function eventsCommand(program: Command) {
  const events = program.command('events').description('what was posted')
  events
    .command('list', { isDefault: true })
    .description('list them, newest first')
    .option('--event <name>')
    .option('--status <status>', 'routed or unmatched')
    .option('--since <time>', 'RFC 3339')
    .option('--until <time>', 'RFC 3339')
    .option('--limit <n>', 'how many', '20')
    .action(
      action(async (session, o: { event?: string; status?: string; since?: string; until?: string; limit: string }) => {
        const { limit, ...query } = o
        const rows = await session.pages<Event>('/v1/events', query, Number(limit))
        session.show(rows, (all) =>
          table(
            all.map((e) => [e.accepted_at, e.id, e.event, e.status]),
            ['accepted at', 'id', 'event', 'status'],
          ),
        )
      }),
    )
  events
    .command('show <id>')
    .description('one with its payload')
    .action(
      action(async (session, id: string) => {
        session.show(await session.call<{ data: unknown }>('GET', `/v1/events/${encodeURIComponent(id)}`), ({ data }) =>
          JSON.stringify(data, null, 2),
        )
      }),
    )
}
