import { fieldsThatAre, pick } from '../../events/fields.ts'
import type { TenantId } from '../../events/ids.ts'
import {
  bearerScopes,
  type Client,
  type ClientField,
  clientFields,
  type Hold,
  type LimitsChange,
  type TenantField,
} from '../../events/tenant.ts'
import { instant, limit, name, type Offset, offset, timestamp, ulid } from './common.ts'
import { type AsOf, type AtMoment, asOf, clientMoment } from './history.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

const limitSchema = (description: string): JsonSchema => ({
  type: ['integer', 'null'],
  minimum: 1,
  maximum: 1_000_000_000,
  examples: [null, 500],
  description: `${description} Null stands for the service's default.`,
})
const limits: Readonly<Record<string, JsonSchema>> = {
  webhooks: limitSchema('The most webhooks that are not deleted.'),
  events_per_second: limitSchema('The events per second of each client, on the routes that accept events.'),
  requests_per_second: limitSchema('The requests per second of each client and key, on all other routes.'),
}
const limitsChange = named<LimitsChange>('LimitsChange', object(limits, Object.keys(limits)))

interface CreateTenant {
  readonly name: string
  readonly limits?: LimitsChange
}
export const createTenant = named<CreateTenant>('CreateTenant', object({ name, limits: limitsChange }, ['limits']))
interface ChangeTenant {
  readonly limits?: LimitsChange
}
export const changeTenant = named<ChangeTenant>('ChangeTenant', object({ limits: limitsChange }, ['limits']))

const reason: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  'x-well-formed': true,
  description: 'Why the tenant is held. The words are stored readable for ever, so they must not contain personal data.',
  examples: ['Lawsuit 17/2026'],
}
export const holdTenant = named<{ readonly reason: string; readonly until?: string | null }>(
  'HoldTenant',
  object(
    { reason, until: nullable({ ...instant, description: 'The time until which the hold lasts. Default null: until it is released.' }) },
    ['until'],
  ),
)
const hold = named<Hold>(
  'Hold',
  object({ reason, until: nullable({ ...timestamp, description: 'The time until which the hold lasts, or null.' }) }),
)
export const eraseTenant = named<{ readonly confirm: TenantId }>(
  'EraseTenant',
  object({ confirm: { ...ulid, description: 'The id of the tenant once more, because an erasure cannot be undone.' } }),
)

/** Describes each field of a tenant that responses show. */
const shownOfTenant = {
  id: ulid,
  name: { ...name, examples: ['Acme'] },
  limits: named('Limits', object(limits)),
  is_suspended: {
    type: 'boolean',
    description: 'While a tenant is suspended, nothing is accepted for it, and its deliveries wait.',
    examples: [false],
  },
  hold: {
    ...nullable(hold),
    description: 'The legal hold of the tenant, or null. While it lasts, neither the tenant nor its payloads can be erased.',
    examples: [null],
  },
  erased_at: nullable({
    ...timestamp,
    description: 'The time at which the data keys of the tenant were destroyed, or null.',
    examples: [null],
  }),
  created_at: timestamp,
  updated_at: timestamp,
} satisfies Record<TenantField<'shown'>, JsonSchema>
export const tenant = named('Tenant', object(shownOfTenant))

/** Describes each field of a client, for requests and responses alike. */
const clientSchemas = {
  client_id: {
    type: 'string',
    pattern: '^[A-Za-z0-9_.-]{1,255}$',
    description: 'The id with which the client gets tokens.',
    examples: ['client_01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
  },
  name,
  scopes: {
    type: 'array',
    minItems: 1,
    maxItems: bearerScopes.length,
    uniqueItems: true,
    // This is a pattern and not an enum, because the Go client of openapi-generator declares the words of two enums twice (KeyScope has them too).
    items: { type: 'string', pattern: `^(?:${bearerScopes.join('|')})$`, 'x-rule': `one of ${bearerScopes.join(', ')}` },
    description: 'The scopes `admin` and `audit` are possible only in the tenant `default`.',
    examples: [['write:events', 'read:events']],
  },
  previous_secret_until: nullable({
    ...timestamp,
    description: 'The time until which the former secret also gets tokens, or null.',
    examples: [null],
  }),
  created_at: timestamp,
  updated_at: timestamp,
} satisfies Record<ClientField<'given' | 'shown'>, JsonSchema>
export const clientId: JsonSchema = clientSchemas.client_id
export type IssueClient = Pick<Client, ClientField<'given'>>
export const issueClient = named<IssueClient>('IssueClient', object(pick(clientSchemas, fieldsThatAre(clientFields, 'given'))))

const shown = pick(clientSchemas, fieldsThatAre(clientFields, 'shown'))
export const client = named('Client', object(shown))
export const clientWithSecret = named(
  'ClientWithSecret',
  object({
    ...shown,
    client_secret: {
      type: 'string',
      description: 'The secret. It is shown only in this response.',
      examples: ['Xq3v0sJr5lq1k2nB8yCwTz7uHd4eFgMa9oPiRbVtLsE'],
    },
  }),
)
export const listTenantsQuery = object<Offset & AsOf>({ as_of: asOf, limit, offset }, ['as_of', 'limit', 'offset'])
export const listClientsQuery = object<Offset & Omit<AtMoment, 'revision'>>({ ...clientMoment, limit, offset }, [
  ...Object.keys(clientMoment),
  'limit',
  'offset',
])
export const getClientQuery = object<Omit<AtMoment, 'revision'>>(clientMoment, Object.keys(clientMoment))
