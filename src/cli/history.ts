import type { Command } from 'commander'
import { table, withSession } from './session.ts'

interface Version {
  revision: number
  type: string
  time: string
  actor: unknown
  changes: Record<string, { from: unknown; to: unknown }>
}
const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
const actorNameOf = (actor: unknown): string =>
  typeof actor === 'object' && actor !== null && 'name' in actor && typeof actor.name === 'string' ? actor.name : textOf(actor)
const formatVersions = (versions: readonly Version[]) =>
  table(
    versions.map((version) => [
      String(version.revision),
      version.time,
      version.type,
      actorNameOf(version.actor),
      Object.entries(version.changes)
        .map(([field, { from, to }]) => `${field}: ${textOf(from)} → ${textOf(to)}`)
        .join('; '),
    ]),
    ['rev', 'time', 'event', 'actor', 'changes'],
  )

export const historyCommand = (program: Command) =>
  program
    .command('history <webhook|key> <id>')
    .description('list every change of a webhook or a key, with its time and author (needs the scope read:audit)')
    .option('--limit <n>', 'the most rows to list', '100')
    .action(
      withSession(async (session, kind: string, id: string, { limit }: { limit: string }) => {
        const path = `/v1/${kind.replace(/s?$/, 's')}/${encodeURIComponent(id)}/history`
        session.show(await session.pages<Version>(path, {}, Number(limit)), formatVersions)
      }),
    )
