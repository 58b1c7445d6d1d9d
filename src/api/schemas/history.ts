import { correlation_id, cursor, instant, limit, timestamp } from './common.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

export const shownActor = named(
  'Actor',
  object({
    kind: { enum: ['client', 'key', 'system'] },
    id: { type: 'string' },
    name: nullable({ type: 'string', description: 'The name of the client or key, or null for parts of Kolbak itself.' }),
  }),
)
export const version = named(
  'Version',
  object({
    revision: { type: 'integer', minimum: 0 },
    type: { type: 'string', examples: ['WebhookChanged'] },
    time: timestamp,
    actor: shownActor,
    correlation_id,
    changes: {
      type: 'object',
      description: 'The former and the new value of each changed field. Secrets and key values are shown as `[sealed]`.',
      additionalProperties: object({ from: {}, to: {} }),
    },
  }),
)

export interface ListVersions {
  readonly limit?: number
  readonly cursor?: string
}
export const listVersionsQuery = object<ListVersions>({ limit, cursor }, ['limit', 'cursor'])

/** The past state to read: the one at a time, or the one at a revision. */
export interface AtMoment {
  readonly as_of?: string
  readonly revision?: number
}
export const asOf: JsonSchema = { ...instant, description: 'Returns the state at this time. It needs the scope `read:audit`.' }
export const atMomentQuery = object<AtMoment>(
  {
    as_of: asOf,
    revision: {
      type: 'integer',
      minimum: 0,
      maximum: 2_147_483_647,
      description: 'Returns the state at this revision. It needs the scope `read:audit`.',
    },
  },
  ['as_of', 'revision'],
)
