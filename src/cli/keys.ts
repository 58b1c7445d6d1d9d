import type { Command } from 'commander'
import { action, table } from './session.ts'

interface Key {
  id: string
  key: string
  name: string
  scopes: string[]
  last_accessed_at: string | null
}
const show = (keys: readonly Key[]) =>
  table(
    keys.map((key) => [key.id, key.key, key.scopes.join(','), key.last_accessed_at ?? 'never used', key.name]),
    ['id', 'key', 'scopes', 'last used', 'name'],
  )

export function keysCommand(program: Command) {
  const keys = program.command('keys').description('API keys that consumers manage their webhooks with')
  keys
    .command('list', { isDefault: true })
    .description('list them, newest first')
    .action(
      action(async (session) => {
        session.show(await session.call<{ data: Key[] }>('GET', '/v1/keys?limit=100'), ({ data }) => show(data))
      }),
    )
  keys
    .command('create <name>')
    .description('make one')
    .option('--scope <scope...>', 'read:webhooks, write:webhooks', ['read:webhooks', 'write:webhooks'])
    .option('--description <text>')
    .action(
      action(async (session, name: string, { scope, description }: { scope: string[]; description?: string }) => {
        session.show(await session.call<{ data: Key }>('POST', '/v1/keys', { name, scopes: scope, description }), ({ data }) =>
          show([data]),
        )
      }),
    )
  keys
    .command('delete <id>')
    .description('delete one; its webhooks stay')
    .action(
      action(async (session, id: string) => {
        await session.call('DELETE', `/v1/keys/${encodeURIComponent(id)}`)
        session.show({ deleted: id }, () => `deleted ${id}`)
      }),
    )
}
