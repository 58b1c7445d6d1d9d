import { cursor, instant, limit, timestamp } from './common.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

export const shownActor = named(
  'Actor',
  object({
    kind: { enum: ['client', 'key', 'system'] },
    id: { type: 'string' },
    name: nullable({ type: 'string', description: 'Null for parts of Kolbak itself.' }),
  }),
)
export const version = named(
  'Version',
  object({
    revision: { type: 'integer', minimum: 0 },
    type: { type: 'string', examples: ['WebhookChanged'] },
    time: timestamp,
    actor: shownActor,
    correlation_id: {
      type: 'string',
      description: 'The `x-request-id` of the request that caused it, or what a process manager carried on.',
    },
    changes: {
      type: 'object',
      description: 'Field by field, from what to what. Secrets and key values show as `[sealed]`.',
      additionalProperties: object({ from: {}, to: {} }),
    },
  }),
)

export interface ListVersions {
  readonly limit?: number
  readonly cursor?: string
}
export const listVersionsQuery = object<ListVersions>({ limit, cursor }, ['limit', 'cursor'])

/** Which state of a resource is asked for; needs `read:audit`. */
export interface AtMoment {
  readonly as_of?: string
  readonly revision?: number
}
export const asOf: JsonSchema = { ...instant, description: 'The state at that moment; needs `read:audit`.' }
export const atMomentQuery = object<AtMoment>(
  {
    as_of: asOf,
    revision: { type: 'integer', minimum: 0, maximum: 2_147_483_647, description: 'The state at that revision; needs `read:audit`.' },
  },
  ['as_of', 'revision'],
)
