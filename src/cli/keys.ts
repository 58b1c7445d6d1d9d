import { atMomentQuery, listVersionsQuery } from '../api/schemas/history.ts'
import { changeKey, createKey, deleteKeyQuery, listKeysQuery } from '../api/schemas/key.ts'
import { rotation } from '../api/schemas/rotation.ts'
import { keyScopes } from '../events/key.ts'
import { versionsTable } from './history.ts'
import { type Row, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const keysTable = (keys: readonly Row[]) =>
  table(
    keys.map((key) => [
      textOf(key.id),
      textOf(key.key),
      textOf(key.scopes),
      key.last_accessed_at === null ? 'never used' : textOf(key.last_accessed_at),
      textOf(key.name),
    ]),
    ['id', 'key', 'scopes', 'last used', 'name'],
  )
const path = '/v1/keys/:id'

export const verbs: readonly Verb[] = [
  {
    name: 'keys list',
    description: 'list API keys, newest first',
    method: 'GET',
    path: '/v1/keys',
    query: listKeysQuery,
    rows: 100,
    format: ({ data }) => keysTable(rowsOf(data)),
  },
  { name: 'keys show', description: 'show one key', method: 'GET', path, query: atMomentQuery },
  {
    name: 'keys create',
    description: 'create a key',
    method: 'POST',
    path: '/v1/keys',
    body: createKey,
    arguments: ['name'],
    defaults: { scopes: keyScopes },
  },
  { name: 'keys update', description: 'change a key; fields without an option stay as they are', method: 'PATCH', path, body: changeKey },
  {
    name: 'keys rotate',
    description: 'give a key a new value; the former value still works during the overlap',
    method: 'POST',
    path: `${path}/rotate`,
    body: rotation,
    optionNames: { overlap_seconds: 'overlap' },
  },
  {
    name: 'keys delete',
    description: 'delete a key',
    method: 'DELETE',
    path,
    query: deleteKeyQuery,
    format: () => 'deleted',
  },
  {
    name: 'keys history',
    description: 'list every change of a key, with its time and author (needs the scope read:audit)',
    method: 'GET',
    path: `${path}/history`,
    query: listVersionsQuery,
    rows: 100,
    format: ({ data }) => versionsTable(rowsOf(data)),
  },
]
