import { type KeyScope, keyScopes } from '../../events/key.ts'
import { description, limit, name, type Offset, offset, timestamp, ulid } from './common.ts'
import { asOf } from './history.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

const scopes: JsonSchema = {
  type: 'array',
  minItems: 1,
  maxItems: keyScopes.length,
  uniqueItems: true,
  items: { type: 'string', enum: keyScopes }, // with a type, uniqueness is looked up: compared, two deep values would be gone down into
  examples: [keyScopes],
}

export interface CreateKey {
  readonly name: string
  readonly description?: string | null
  readonly scopes: readonly KeyScope[]
}
export const createKey = named<CreateKey>('CreateKey', object({ name, description, scopes }, ['description']))

export interface ChangeKey {
  readonly name?: string
  readonly description?: string | null
  readonly scopes?: readonly KeyScope[]
}
export const changeKey = named<ChangeKey>('ChangeKey', object({ name, description, scopes }, ['name', 'description', 'scopes']))

const shown: Readonly<Record<string, JsonSchema>> = {
  id: ulid,
  key: {
    type: 'string',
    pattern: '^[A-Z0-9]{4}(?:[A-Z0-9]{8}|\\*{8})$',
    description: 'The value for `x-api-key`; masked after four characters for callers who do not hold all its scopes.',
    examples: ['XDHJEUU00110'],
  },
  name,
  description,
  scopes,
  last_accessed_at: nullable({ ...timestamp, description: 'Null until its first use; written within about a second.' }),
  created_at: timestamp,
  updated_at: timestamp,
}
export const key = named('Key', object(shown))
export const rotatedKey = named(
  'RotatedKey',
  object({
    ...shown,
    previous_key_until: nullable({ ...timestamp, description: 'Until then the former value works too; null when it does no more.' }),
  }),
)

export interface ListKeys extends Offset {
  readonly as_of?: string
}
export const listKeysQuery = object<ListKeys>({ as_of: asOf, limit, offset }, ['as_of', 'limit', 'offset'])

export interface DeleteKey {
  readonly webhooks?: 'keep' | 'deactivate'
}
export const deleteKeyQuery = object<DeleteKey>(
  {
    webhooks: {
      enum: ['keep', 'deactivate'],
      default: 'keep',
      description: 'What becomes of the webhooks that the key created: deactivated ones show the reason `key_deleted`, moments later.',
    },
  },
  ['webhooks'],
)
