import { auditQuery } from '../api/schemas/audit.ts'
import { CommandError } from './errors.ts'
import { parseExactly } from './json-text.ts'
import { searchOf } from './session.ts'
import { type Row, rowOf, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const actorOf = (actor: unknown): string => {
  const { name, kind, id } = rowOf(actor)
  return textOf(name ?? `${textOf(kind)} ${textOf(id)}`)
}
const valueText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
/** Returns the changes of a resource as a table. */
export const versionsTable = (versions: readonly Row[]): string =>
  table(
    versions.map((version) => [
      textOf(version.revision),
      textOf(version.time),
      textOf(version.type),
      actorOf(version.actor),
      Object.entries(rowOf(version.changes))
        .map(([field, change]) => `${field}: ${valueText(rowOf(change).from)} → ${valueText(rowOf(change).to)}`)
        .join('; '),
    ]),
    ['rev', 'time', 'event', 'actor', 'changes'],
  )

export const verbs: readonly Verb[] = [
  {
    name: 'audit',
    description: 'list all changes of this account, oldest first (needs the scope read:audit)',
    method: 'GET',
    path: '/v1/audit',
    query: auditQuery,
    async run(session, { path, query }) {
      const { text } = await session.call('GET', path + searchOf(query))
      const lines = text.split('\n').filter((line) => line !== '')
      // The last line is no event: it says whether the stream is complete.
      const { end, error } = rowOf(parseExactly(lines.at(-1) ?? '{}'))
      if (end !== true) throw new CommandError(`The audit log broke off: ${textOf(rowOf(error).message ?? 'the last line is missing.')}`)
      return { data: lines.slice(0, -1).map(parseExactly), pagination: null, text }
    },
    format: ({ data }) =>
      table(
        rowsOf(data).map((event) => [textOf(event.time), textOf(event.type), textOf(event.id), actorOf(event.actor), textOf(event.data)]),
        ['time', 'event', 'id', 'actor', 'data'],
      ),
  },
  {
    name: 'audit log',
    description: 'show the newest head of the audit log and its key (needs the scope read:audit)',
    method: 'GET',
    path: '/v1/log',
  },
]
