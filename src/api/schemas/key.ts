import { fieldsThatAre, pick } from '../../events/fields.ts'
import { type Key, type KeyField, type KeyFieldChanges, keyFields, keyScopes } from '../../events/key.ts'
import { description, limit, name, type Offset, offset, timestamp, ulid } from './common.ts'
import { asOf } from './history.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

/** Describes each field of a key, for requests and responses alike. */
const fields = {
  id: ulid,
  key: {
    type: 'string',
    pattern: '^[A-Z0-9]{4}(?:[A-Z0-9]{8}|\\*{8})$',
    description: 'The value for `x-api-key`. It is masked after four characters for callers who lack one of its scopes.',
    examples: ['XDHJEUU00110'],
  },
  name: { ...name, examples: ['Shop'] },
  description: { ...description, examples: ['For the developers of the shop.'] },
  scopes: {
    type: 'array',
    minItems: 1,
    maxItems: keyScopes.length,
    uniqueItems: true,
    items: named('KeyScope', oneOf(keyScopes)), // With a type, ajv finds duplicates quickly. Without a type, it would compare all pairs.
    description: 'What holders of the key may do.',
    examples: [keyScopes],
  },
  last_accessed_at: nullable({
    ...timestamp,
    description: 'The time of the last use, or null before the first. It is stored within about a second.',
  }),
  created_at: timestamp,
  updated_at: timestamp,
} satisfies Record<KeyField<'given' | 'changeable' | 'shown'>, JsonSchema>

export type CreateKey = Pick<Key, 'name' | 'scopes'> & Partial<Pick<Key, KeyField<'given'>>>
const given = fieldsThatAre(keyFields, 'given')
export const createKey = named<CreateKey>(
  'CreateKey',
  object(
    pick(fields, given),
    given.filter((field) => field !== 'name' && field !== 'scopes'),
  ),
)

const changeable = fieldsThatAre(keyFields, 'changeable')
export const changeKey = named<KeyFieldChanges>('ChangeKey', object(pick(fields, changeable), changeable))

const shown = pick(fields, fieldsThatAre(keyFields, 'shown'))
export const key = named('Key', object(shown))
export const rotatedKey = named(
  'RotatedKey',
  object({
    ...shown,
    previous_key_until: nullable({
      ...timestamp,
      description: 'The time until which the former value also works, or null when it does not.',
      examples: ['2026-03-31T01:45:00.000Z'],
    }),
  }),
)

interface ListKeys extends Offset {
  readonly as_of?: string
}
export const listKeysQuery = object<ListKeys>({ as_of: asOf, limit, offset }, ['as_of', 'limit', 'offset'])

export interface DeleteKey {
  readonly webhooks?: 'keep' | 'deactivate'
}
export const deleteKeyQuery = object<DeleteKey>(
  {
    webhooks: {
      ...oneOf(['keep', 'deactivate']),
      default: 'keep',
      description:
        'Whether the webhooks that the key created stay, or are deactivated. Deactivated ones show the reason `key_deleted` a moment later.',
    },
  },
  ['webhooks'],
)
