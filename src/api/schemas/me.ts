import { bearerScopes } from '../../events/tenant.ts'
import { name } from './common.ts'
import { named, nullable, object, oneOf } from './json-schema.ts'

const limit = (example: number) => ({ type: 'integer', minimum: 0, examples: [example] })

export const me = named(
  'Me',
  object({
    kind: { ...oneOf(['client', 'key']), description: 'Whether the credential is a bearer token of a client, or an API key.' },
    id: { type: 'string', description: 'The id of the client or the key.', examples: ['client_01JQNV4T0M2ZB7V6RWKD5YQ3XE'] },
    name: nullable({ ...name, description: 'The name of the client or the key.' }),
    tenant: object({
      id: { type: 'string', examples: ['01JQNV4T0M2ZB7V6RWKD5YQ3XE'] },
      name: nullable({ ...name, description: 'The name of the account. Keys do not see it.', examples: ['Acme'] }),
    }),
    scopes: { type: 'array', items: oneOf(bearerScopes), description: 'What the credential may do.', examples: [['read:webhooks']] },
    limits: object({
      webhooks: { ...limit(1_000), description: 'The most webhooks that the account may have.' },
      events_per_second: { ...limit(20_000), description: 'The most events that one client may post in a second.' },
      requests_per_second: { ...limit(50), description: 'The most other requests that one client or key may make in a second.' },
    }),
    retention_days: { type: 'integer', minimum: 1, description: 'The days for which events and deliveries are kept.', examples: [30] },
    version: { type: 'string', description: 'The version of Kolbak.', examples: ['0.2.0'] },
  }),
)
