import type { Command } from 'commander'
import { action, table } from './session.ts'

interface Version {
  revision: number
  type: string
  time: string
  actor: unknown
  changes: Record<string, { from: unknown; to: unknown }>
}
const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
const who = (actor: unknown): string =>
  typeof actor === 'object' && actor !== null && 'name' in actor && typeof actor.name === 'string' ? actor.name : text(actor)

export const historyCommand = (program: Command) =>
  program
    .command('history <webhook|key> <id>')
    .description('every change of a webhook or key: when, by whom, from what to what (scope read:audit)')
    .option('--limit <n>', 'how many', '100')
    .action(
      action(async (session, kind: string, id: string, { limit }: { limit: string }) => {
        const rows = await session.pages<Version>(`/v1/${kind.replace(/s?$/, 's')}/${encodeURIComponent(id)}/history`, {}, Number(limit))
        session.show(rows, (all) =>
          table(
            all.map((v) => [
              String(v.revision),
              v.time,
              v.type,
              who(v.actor),
              Object.entries(v.changes)
                .map(([field, { from, to }]) => `${field}: ${text(from)} → ${text(to)}`)
                .join('; '),
            ]),
            ['rev', 'time', 'what', 'who', 'changes'],
          ),
        )
      }),
    )
