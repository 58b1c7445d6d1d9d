import { correlation_id, cursor, instant, limit, timestamp } from './common.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

export const shownActor = named(
  'Actor',
  object({
    kind: { ...oneOf(['client', 'key', 'system']), description: '`system` stands for a part of Kolbak itself.' },
    id: {
      type: 'string',
      description: 'The id of the client or key, or the name of the part.',
      examples: ['client_01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
    },
    name: nullable({
      type: 'string',
      description: 'The name of the client or key, or null for parts of Kolbak itself.',
      examples: ['Billing'],
    }),
  }),
)
export const version = named(
  'Version',
  object({
    revision: { type: 'integer', minimum: 0, description: 'The revision after the change. The first one is 0.', examples: [1] },
    type: { type: 'string', examples: ['WebhookChanged'] },
    time: timestamp,
    actor: shownActor,
    correlation_id,
    changes: {
      type: 'object',
      description: 'The former and the new value of each changed field. Secrets and key values are shown as `[sealed]`.',
      additionalProperties: object({
        from: { description: 'Null when the field had no value.' },
        to: { description: 'Null when the field has no value now.' },
      }),
      examples: [{ event: { from: 'order.created', to: 'order.*' } }],
    },
  }),
)

export interface ListVersions {
  readonly limit?: number
  readonly cursor?: string
}
export const listVersionsQuery = object<ListVersions>({ limit, cursor }, ['limit', 'cursor'])

/** Names the past state to read: by a time, by an index of the audit log, or by a revision. */
export interface AtMoment {
  readonly as_of?: string
  readonly as_of_index?: number
  readonly revision?: number
}
export const asOf: JsonSchema = {
  ...instant,
  description: 'Returns the state at this time, which must not be in the future. A read of the past needs only the scope `read:audit`.',
}
const asOfIndex: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description:
    'Returns the state after the event with this index in the audit log. The result is always the same, even if clocks were wrong. A read of the past needs only the scope `read:audit`.',
  examples: [41],
}
const revision: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: 2_147_483_647,
  description: 'Returns the state at this revision. A read of the past needs only the scope `read:audit`.',
  examples: [0],
}
export const atMomentQuery = object<AtMoment>({ as_of: asOf, as_of_index: asOfIndex, revision }, ['as_of', 'as_of_index', 'revision'])
/** The parameters for a past moment of a client. They contain no revision, because no response shows the revisions of a client. */
export const clientMoment = { as_of: asOf, as_of_index: asOfIndex } as const
export interface AsOf {
  readonly as_of?: string
}
export const asOfQuery = object<AsOf>({ as_of: asOf }, ['as_of'])
