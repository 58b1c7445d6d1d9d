import type { Scope } from '../../events/tenant.ts'
import { named, object, word } from './json-schema.ts'

/** Says what each scope allows. */
export const scopeDescriptions = {
  'read:keys': 'Read the API keys of the account.',
  'write:keys': 'Create, change, rotate and delete API keys.',
  'read:webhooks': 'Read webhooks, their deliveries, dead letters and replay jobs.',
  'write:webhooks': 'Create, change, test and delete webhooks, and replay their deliveries.',
  'read:events': 'Read events, and the deliveries of each.',
  'write:events': 'Post events, and replay them.',
  'read:audit': 'Read past states, every change of the account with its author, and why an event did or did not reach a webhook.',
  admin: 'Manage tenants and their clients, and read metrics. Only clients of the tenant `default` can have this scope.',
  audit:
    'Read everything of every tenant except secrets, with the header `Kolbak-Tenant`. Each read is in the access log of that tenant. Only clients of the tenant `default` can have this scope.',
} as const satisfies Record<Scope, string>

/** The request for a token (RFC 6749, 4.4.2). Unknown parameters are ignored (3.2). */
export interface TokenRequest {
  readonly grant_type?: string
  readonly client_id?: string
  readonly client_secret?: string
  readonly scope?: string
}
export const tokenRequest = named<TokenRequest>('TokenRequest', {
  type: 'object',
  properties: {
    grant_type: { type: 'string', examples: ['client_credentials'] },
    client_id: { type: 'string', description: 'Needed here or by HTTP Basic.', examples: ['client_01JQNV4T0M2ZB7V6RWKD5YQ3XE'] },
    client_secret: {
      type: 'string',
      description: 'Needed here or by HTTP Basic.',
      examples: ['Xq3v0sJr5lq1k2nB8yCwTz7uHd4eFgMa9oPiRbVtLsE'],
    },
    scope: {
      type: 'string',
      description: "The requested scopes, separated by spaces. Default: all of the client's scopes.",
      examples: ['write:events'],
    },
  },
})
export const tokenResponse = named(
  'Token',
  object({
    access_token: {
      type: 'string',
      description: 'The value for the header `Authorization: Bearer ...`.',
      examples: ['eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJjbGllbnQifQ.c2lnbmF0dXJl'],
    },
    token_type: word('Bearer'),
    expires_in: { type: 'integer', description: 'The seconds for which the token is valid.', examples: [3_600] },
    scope: { type: 'string', description: 'The scopes of the token, separated by spaces.', examples: ['read:events write:events'] },
  }),
)
/** The error response of RFC 6749 (5.2), with further codes for errors of HTTP itself. */
export const tokenError = named(
  'TokenError',
  object({
    error: { type: 'string', description: 'A stable word for programs to compare.', examples: ['invalid_client'] },
    error_description: {
      type: 'string',
      description: 'A sentence for people, which may change.',
      examples: ['The client does not exist, or its secret is wrong.'],
    },
  }),
)
