import { named, object } from './json-schema.ts'

/** RFC 6749, 4.4.2; parameters that are not known are ignored (3.2). */
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
    client_id: { type: 'string', description: 'Here or by HTTP Basic.' },
    client_secret: { type: 'string', description: 'Here or by HTTP Basic.' },
    scope: { type: 'string', description: "Scopes wanted, separated by spaces; default all of the client's.", examples: ['write:events'] },
  },
})
export const tokenResponse = named(
  'Token',
  object({
    access_token: { type: 'string' },
    token_type: { const: 'Bearer' },
    expires_in: { type: 'integer', description: 'Seconds.' },
    scope: { type: 'string', description: 'What the token can do, separated by spaces.' },
  }),
)
/** RFC 6749, 5.2, with further codes where HTTP itself refuses. */
export const tokenError = named(
  'TokenError',
  object({ error: { type: 'string', examples: ['invalid_client'] }, error_description: { type: 'string' } }),
)
