import type { Command } from 'commander'
import { table, withSession } from './session.ts'

interface Key {
  id: string
  key: string
  name: string
  scopes: string[]
  last_accessed_at: string | null
}
const formatKeys = (keys: readonly Key[]) =>
  table(
    keys.map((key) => [key.id, key.key, key.scopes.join(','), key.last_accessed_at ?? 'never used', key.name]),
    ['id', 'key', 'scopes', 'last used', 'name'],
  )

export function keysCommand(program: Command) {
  const keys = program.command('keys').description('manage API keys, with which consumers manage their own webhooks')
  keys
    .command('list', { isDefault: true })
    .description('list the 100 newest keys, newest first')
    .action(
      withSession(async (session) => {
        session.show(await session.call<{ data: Key[] }>('GET', '/v1/keys?limit=100'), ({ data }) => formatKeys(data))
      }),
    )
  keys
    .command('create <name>')
    .description('create a key')
    .option('--scope <scope...>', 'what the key may do', ['read:webhooks', 'write:webhooks'])
    .option('--description <text>', 'a note for people')
    .action(
      withSession(async (session, name: string, { scope, description }: { scope: string[]; description?: string }) => {
        const created = await session.call<{ data: Key }>('POST', '/v1/keys', { name, scopes: scope, description })
        session.show(created, ({ data }) => formatKeys([data]))
      }),
    )
  keys
    .command('delete <id>')
    .description('delete a key; the webhooks that it created stay')
    .action(
      withSession(async (session, id: string) => {
        await session.call('DELETE', `/v1/keys/${encodeURIComponent(id)}`)
        session.show({ deleted: id }, () => `deleted ${id}`)
      }),
    )
}
