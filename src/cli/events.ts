import type { Command } from 'commander'
import { table, withSession } from './session.ts'

interface Event {
  id: string
  event: string
  status: string
  accepted_at: string
}
const formatEvents = (events: readonly Event[]) =>
  table(
    events.map(({ accepted_at, id, event, status }) => [accepted_at, id, event, status]),
    ['accepted at', 'id', 'event', 'status'],
  )

export function eventsCommand(program: Command) {
  const events = program.command('events').description('list and show the events that were posted')
  events
    .command('list', { isDefault: true })
    .description('list events, newest first')
    .option('--event <name>', 'only events of this name')
    .option('--status <status>', 'routed or unmatched')
    .option('--since <time>', 'accepted at this RFC 3339 time or later')
    .option('--until <time>', 'accepted before this RFC 3339 time')
    .option('--limit <n>', 'the most rows to list', '20')
    .action(
      withSession(async (session, options: { event?: string; status?: string; since?: string; until?: string; limit: string }) => {
        const { limit, ...query } = options
        session.show(await session.pages<Event>('/v1/events', query, Number(limit)), formatEvents)
      }),
    )
  events
    .command('show <id>')
    .description('show an event with its payload')
    .action(
      withSession(async (session, id: string) => {
        const response = await session.call<{ data: unknown }>('GET', `/v1/events/${encodeURIComponent(id)}`)
        session.show(response, ({ data }) => JSON.stringify(data, null, 2))
      }),
    )
}
