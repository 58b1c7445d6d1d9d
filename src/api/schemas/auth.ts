import { named, object } from './json-schema.ts'

/** RFC 6749, 4.4.2. Unknown parameters are ignored (3.2). */
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
    client_id: { type: 'string', description: 'Needed here or by HTTP Basic.' },
    client_secret: { type: 'string', description: 'Needed here or by HTTP Basic.' },
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
    access_token: { type: 'string' },
    token_type: { const: 'Bearer' },
    expires_in: { type: 'integer', description: 'The seconds for which the token is valid.' },
    scope: { type: 'string', description: 'The scopes of the token, separated by spaces.' },
  }),
)
/** RFC 6749, 5.2, with further codes for errors of HTTP itself. */
export const tokenError = named(
  'TokenError',
  object({ error: { type: 'string', examples: ['invalid_client'] }, error_description: { type: 'string' } }),
)
