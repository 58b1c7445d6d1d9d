import type { IncomingHttpHeaders } from 'node:http'
import type { ClientId } from '../../events/ids.ts'
import { sameSecret } from '../../lib/same-secret.ts'
import { type ClientOfTenant, findClient } from '../../projections/clients.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { type Problem, problemOf } from '../errors.ts'
import type { FailedCredentials } from '../failed-credentials.ts'
import { parseJson } from '../request-body.ts'
import { openRoute, type Route, type RouteResult } from '../route.ts'
import { noStore } from '../route-results.ts'
import { type TokenRequest, tokenAnswer, tokenError, tokenRequest } from '../schemas/auth.ts'
import { parseScopes, type Tokens } from '../tokens.ts'

/** RFC 6749, 5.1: neither tokens nor what is said of them is to be kept. */
const headers = { ...noStore, pragma: 'no-cache' } as const
const form = 'application/x-www-form-urlencoded'

type TokenErrorCode = 'invalid_request' | 'invalid_client' | 'unauthorized_client' | 'unsupported_grant_type' | 'invalid_scope'
class TokenRefused extends Error {
  readonly error: TokenErrorCode
  constructor(error: TokenErrorCode, description: string) {
    super(description)
    this.error = error
  }
}
const tokenStatuses: Readonly<Record<TokenErrorCode, number>> = {
  invalid_request: 400,
  invalid_client: 401,
  unauthorized_client: 403,
  unsupported_grant_type: 400,
  invalid_scope: 400,
}
/** What HTTP itself refuses has no code in RFC 6749 but invalid_request; ours and the engines' failures have those of RFC 6749, 4.1.2.1. */
const codeOfProblem = ({ status, code }: Problem): string =>
  status === 500 ? 'server_error' : status === 503 ? 'temporarily_unavailable' : status === 429 ? code : 'invalid_request'
const descriptionOf = ({ message, details }: Problem) =>
  details === undefined ? message : details.map((d) => `${d.path || 'The body'} ${d.message}`).join('; ')
const errorBody = (problem: Problem) => ({ error: codeOfProblem(problem), error_description: descriptionOf(problem) })

/** A parameter that is given twice is a fault (RFC 6749, 3.2), and would be read differently by others. */
function parseForm(raw: Buffer): Record<string, string> {
  const params = new URLSearchParams(raw.toString())
  const names = [...params.keys()]
  if (new Set(names).size < names.length) throw new TokenRefused('invalid_request', 'A parameter is given more than once.')
  return Object.fromEntries(params)
}

/** HTTP Basic, both halves form-encoded first (RFC 6749, 2.3.1); null when the header holds something else. */
function basicCredentials(header: string): { id: string; secret: string } | null {
  const encoded = /^Basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(header)?.[1]
  const decoded = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString()
  const colon = decoded.indexOf(':')
  if (colon < 1) return null
  const decode = (text: string) => new URLSearchParams(`v=${text.replaceAll('&', '%26')}`).get('v') ?? ''
  return { id: decode(decoded.slice(0, colon)), secret: decode(decoded.slice(colon + 1)) }
}
function clientCredentials(body: TokenRequest, { authorization }: IncomingHttpHeaders): { id: string; secret: string } {
  if (authorization === undefined) {
    if (body.client_id === undefined || body.client_secret === undefined)
      throw new TokenRefused('invalid_client', 'client_id and client_secret are needed, in the body or by HTTP Basic.')
    return { id: body.client_id, secret: body.client_secret }
  }
  const basic = basicCredentials(authorization)
  if (basic === null) throw new TokenRefused('invalid_client', 'The Authorization header must be HTTP Basic.')
  if (body.client_secret !== undefined || (body.client_id !== undefined && body.client_id !== basic.id))
    throw new TokenRefused('invalid_request', 'Send the credentials either by HTTP Basic or in the body, not both.')
  return basic
}

const isClientId = (text: string): text is ClientId => /^[A-Za-z0-9_.-]{1,255}$/.test(text)

export function createAuthRoutes(
  deps: Pick<ApiDependencies, 'pool' | 'keyring' | 'settings' | 'now'>,
  tokens: Tokens,
  failed: FailedCredentials,
): Route[] {
  const { pool, keyring, settings, now } = deps

  const authenticate = async ({ id, secret }: { id: string; secret: string }, address: string): Promise<ClientOfTenant> => {
    await failed.guard(address)
    const client = isClientId(id) ? await findClient(pool, id) : null
    // Computed for clients that there are not too: time says nothing.
    const hmac = keyring.lookup('client-secret', secret)
    if (client !== null && !client.revoked) {
      const formerValid = client.previous_until !== null && now() < Date.parse(client.previous_until)
      if (sameSecret(hmac, client.secret_hmac) || (formerValid && client.previous_hmac !== null && sameSecret(hmac, client.previous_hmac)))
        return client
    }
    await failed.count(address)
    throw new TokenRefused('invalid_client', 'There is no such client, or its secret is another one.')
  }
  const scopesFor = (client: ClientOfTenant, wanted: string | undefined) => {
    if (wanted === undefined || wanted.trim() === '') return client.scopes
    const { scopes, unknown } = parseScopes(wanted)
    const lacking = [...unknown, ...scopes.filter((scope) => !client.scopes.includes(scope))]
    if (lacking.length > 0) throw new TokenRefused('invalid_scope', 'The client does not have all requested scopes.')
    return scopes
  }
  const issue = async (body: TokenRequest, requestHeaders: IncomingHttpHeaders, address: string): Promise<RouteResult> => {
    if (body.grant_type === undefined) throw new TokenRefused('invalid_request', 'grant_type is needed: client_credentials.')
    if (body.grant_type !== 'client_credentials')
      throw new TokenRefused('unsupported_grant_type', 'The only grant_type is client_credentials.')
    const client = await authenticate(clientCredentials(body, requestHeaders), address)
    if (client.tenant_suspended) throw new TokenRefused('unauthorized_client', 'This account is suspended.')
    const scopes = scopesFor(client, body.scope)
    return {
      status: 200,
      headers,
      body: {
        access_token: tokens.issue({ clientId: client.id, generation: client.generation, scopes }),
        token_type: 'Bearer',
        expires_in: settings.tokenTtlSeconds,
        scope: scopes.join(' '),
      },
    }
  }
  const refusal = (error: TokenRefused, tried: boolean): RouteResult => ({
    status: tokenStatuses[error.error],
    headers: error.error === 'invalid_client' && tried ? { ...headers, 'www-authenticate': 'Basic realm="kolbak"' } : headers,
    body: { error: error.error, error_description: error.message },
  })
  const answered = async (work: () => Promise<RouteResult>, requestHeaders: IncomingHttpHeaders): Promise<RouteResult> => {
    try {
      return await work()
    } catch (error) {
      const tried = requestHeaders.authorization !== undefined
      if (error instanceof TokenRefused) return refusal(error, tried)
      // Wrong types of parameters are RFC 6749's invalid_request, not the envelope's 422.
      const problem = problemOf(error)
      if (problem.code === 'validation_failed') return refusal(new TokenRefused('invalid_request', descriptionOf(problem)), tried)
      throw error
    }
  }
  const route = openRoute({
    method: 'POST',
    path: '/v1/auth',
    operationId: 'getToken',
    summary: 'Exchange client credentials for a bearer token',
    tag: 'Auth',
    credentials: 'client',
    body: tokenRequest,
    bodyTypes: ['application/json', form],
    parse: (raw, contentType) => (contentType === form ? parseForm(raw) : parseJson(raw)),
    errorBody,
    errorSchema: tokenError,
    responses: {
      200: { description: 'A token.', schema: tokenAnswer },
      400: { description: 'The request is not one of RFC 6749, or asks for a scope that the client lacks.', schema: tokenError },
      401: { description: 'The credentials are wrong.', schema: tokenError },
      403: { description: 'The account is suspended.', schema: tokenError },
      429: { description: 'Too many wrong credentials from this address.', schema: tokenError },
    },
    handler: ({ body, headers: requestHeaders, address }) => issue(body, requestHeaders, address()),
  })
  return [{ ...route, run: (request) => answered(() => route.run(request), request.headers) }]
}
