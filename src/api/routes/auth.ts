import type { IncomingHttpHeaders } from 'node:http'
import { sameSecret } from '../../lib/same-secret.ts'
import { type ClientOfTenant, findGenuineClient } from '../../projections/clients.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { type Problem, problemOf } from '../errors.ts'
import type { FailedCredentials } from '../failed-credentials.ts'
import { isClientId } from '../ids.ts'
import { parseJson } from '../request-body.ts'
import { openRoute, type RawRequest, type Route, type RouteResult } from '../route.ts'
import { noStore } from '../route-results.ts'
import { type TokenRequest, tokenError, tokenRequest, tokenResponse } from '../schemas/auth.ts'
import { parseScopes, type Tokens } from '../tokens.ts'

/** Neither tokens nor errors about tokens may be cached (RFC 6749, 5.1). */
const headers = { ...noStore, pragma: 'no-cache' } as const
const form = 'application/x-www-form-urlencoded'

type TokenErrorCode = 'invalid_request' | 'invalid_client' | 'unauthorized_client' | 'unsupported_grant_type' | 'invalid_scope'
class TokenError extends Error {
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

/** The sentences of the errors that `/openapi.json` shows. */
const sentences = {
  noGrantType: 'grant_type is missing: it must be client_credentials.',
  otherGrantType: 'The only grant_type is client_credentials.',
  scope: 'The client does not have all requested scopes.',
  client: 'The client does not exist, or its secret is wrong.',
  suspended: 'This account is suspended.',
} as const
const errorExample = (error: TokenErrorCode, error_description: string) => ({ [error]: { error, error_description } })

type AuthDependencies = Pick<ApiDependencies, 'pool' | 'keyring' | 'settings' | 'now' | 'log' | 'access'>

export function createAuthRoutes(deps: AuthDependencies, tokens: Tokens, failedCredentials: FailedCredentials): Route[] {
  const route = openRoute({
    method: 'POST',
    path: '/v1/auth',
    operationId: 'getToken',
    summary: 'Exchange client credentials for a bearer token',
    description:
      'Gives a client a bearer token for the API (RFC 6749, client credentials). The credentials come in the body or by HTTP Basic. The body may also be `application/x-www-form-urlencoded`, as OAuth 2.0 libraries send it. A token cannot be renewed: get a new one before it ends.',
    tag: 'Auth',
    credentials: 'client',
    body: tokenRequest,
    example: {
      grant_type: 'client_credentials',
      client_id: 'client_01JQNV4T0M2ZB7V6RWKD5YQ3XE',
      client_secret: 'Xq3v0sJr5lq1k2nB8yCwTz7uHd4eFgMa9oPiRbVtLsE',
      scope: 'read:events write:events',
    },
    bodyTypes: ['application/json', form],
    parse: (raw, contentType) => (contentType === form ? parseForm(raw) : parseJson(raw)),
    errorBody: (problem) => ({ error: errorCodeOf(problem), error_description: errorDescriptionOf(problem) }),
    errorSchema: tokenError,
    errors: ['too_many_failed_credentials'],
    responses: {
      200: { description: 'A token.', schema: tokenResponse },
      400: {
        description: 'The request does not follow RFC 6749, or asks for a scope that the client lacks.',
        errorExamples: {
          ...errorExample('invalid_request', sentences.noGrantType),
          ...errorExample('unsupported_grant_type', sentences.otherGrantType),
          ...errorExample('invalid_scope', sentences.scope),
        },
      },
      401: { description: 'The credentials are wrong.', errorExamples: errorExample('invalid_client', sentences.client) },
      403: { description: 'The account is suspended.', errorExamples: errorExample('unauthorized_client', sentences.suspended) },
    },
    async handler({ body, headers: requestHeaders, address }) {
      if (body.grant_type === undefined) throw new TokenError('invalid_request', sentences.noGrantType)
      if (body.grant_type !== 'client_credentials') throw new TokenError('unsupported_grant_type', sentences.otherGrantType)
      const client = await findAuthenticatedClient(deps, failedCredentials, clientCredentials(body, requestHeaders), address())
      if (client === null) throw new TokenError('invalid_client', sentences.client)
      const scopes = grantedScopes(client, body.scope)
      // The auditors of a suspended tenant can go on.
      if (client.tenant_suspended && scopes.some((scope) => scope !== 'read:audit'))
        throw new TokenError('unauthorized_client', sentences.suspended)
      return {
        status: 200,
        headers,
        body: {
          access_token: tokens.issue({ clientId: client.client_id, generation: client.generation, scopes }),
          token_type: 'Bearer',
          expires_in: deps.settings.tokenTtlSeconds,
          scope: scopes.join(' '),
        },
      }
    },
  })
  return [
    {
      ...route,
      run: (request) =>
        withTokenErrors(() => noteRefusals(deps, request, () => route.run(request)), request.headers.authorization !== undefined),
    },
  ]
}

/** Notes the errors with which clients get no token, except for requests that do not follow RFC 6749. */
async function noteRefusals(
  { access }: AuthDependencies,
  { facts, requestId, headers, rawBody, contentType }: RawRequest,
  run: () => Promise<RouteResult>,
): Promise<RouteResult> {
  try {
    return await run()
  } catch (error) {
    const isRefusal = error instanceof TokenError && ['invalid_client', 'unauthorized_client', 'invalid_scope'].includes(error.error)
    if (access !== undefined && isRefusal) {
      const client_id = namedClient({ headers, rawBody, contentType })
      const what = { type: 'TokenRefused', client_id, code: error.error } as const
      access.note({ tenant: null, actor: 'system:unknown-caller', correlation_id: requestId, facts: facts(), what })
    }
    throw error
  }
}
/** Returns the id that a request names as its client, or null if it has not the form of one. */
function namedClient({ headers, rawBody, contentType }: Pick<RawRequest, 'headers' | 'rawBody' | 'contentType'>): string | null {
  const { authorization } = headers
  const body = authorization === undefined ? (contentType === form ? parseForm(rawBody) : parseJson(rawBody)) : null
  const id = authorization === undefined ? Object(body).client_id : basicCredentials(authorization)?.id
  return typeof id === 'string' && isClientId(id) ? id : null
}

/** Turns errors of the request itself into the results of RFC 6749. @param usedBasic whether the request had an Authorization header */
async function withTokenErrors(run: () => Promise<RouteResult>, usedBasic: boolean): Promise<RouteResult> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof TokenError) return tokenErrorResult(error, usedBasic)
    // A parameter of the wrong type is `invalid_request` in RFC 6749. Other routes report it as 422.
    const problem = problemOf(error)
    if (problem.code !== 'validation_failed') throw error
    return tokenErrorResult(new TokenError('invalid_request', errorDescriptionOf(problem)), usedBasic)
  }
}
const tokenErrorResult = ({ error, message }: TokenError, usedBasic: boolean): RouteResult => ({
  status: tokenStatuses[error],
  headers: error === 'invalid_client' && usedBasic ? { ...headers, 'www-authenticate': 'Basic realm="kolbak"' } : headers,
  body: { error, error_description: message },
})

/**
 * Returns the code for errors that are not specific to tokens. RFC 6749 has only invalid_request for the errors of HTTP itself. For failures of the
 * service, the codes are those of its section 4.1.2.1.
 */
const errorCodeOf = ({ status, code }: Problem): string =>
  status === 500 ? 'server_error' : status === 503 ? 'temporarily_unavailable' : status === 429 ? code : 'invalid_request'
const errorDescriptionOf = ({ message, details }: Problem) =>
  details === undefined ? message : details.map((detail) => `${detail.path || 'The body'} ${detail.message}`).join('; ')

/** Parses a form. A repeated parameter is a fault (RFC 6749, 3.2), because parsers differ in the value that they use. */
function parseForm(raw: Buffer): Record<string, string> {
  const params = new URLSearchParams(raw.toString())
  const names = [...params.keys()]
  if (new Set(names).size < names.length) throw new TokenError('invalid_request', 'A parameter is given more than once.')
  return Object.fromEntries(params)
}

interface ClientCredentials {
  readonly id: string
  /** The possible readings of the secret. */
  readonly secrets: readonly string[]
}

/**
 * Parses HTTP Basic. Returns null when the header is not HTTP Basic. RFC 6749 (2.3.1) requires that id and secret are form-encoded, but `curl -u` and
 * most HTTP clients send them as they are. So a secret with `+` or `%` has two possible readings. The id has only one, because ids contain neither
 * character.
 */
function basicCredentials(header: string): ClientCredentials | null {
  const encoded = /^Basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(header)?.[1]
  const userPass = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString()
  const colon = userPass.indexOf(':')
  if (colon < 1) return null
  const decode = (text: string) => new URLSearchParams(`v=${text.replaceAll('&', '%26')}`).get('v') ?? ''
  const [id, secret] = [userPass.slice(0, colon), userPass.slice(colon + 1)]
  return { id: isClientId(id) ? id : decode(id), secrets: [secret, decode(secret)] }
}
function clientCredentials(body: TokenRequest, { authorization }: IncomingHttpHeaders): ClientCredentials {
  if (authorization === undefined) {
    if (body.client_id === undefined || body.client_secret === undefined)
      throw new TokenError('invalid_client', 'client_id and client_secret are missing: send them in the body or by HTTP Basic.')
    return { id: body.client_id, secrets: [body.client_secret] }
  }
  const basic = basicCredentials(authorization)
  if (basic === null) throw new TokenError('invalid_client', 'The Authorization header must be HTTP Basic.')
  if (body.client_secret !== undefined || (body.client_id !== undefined && body.client_id !== basic.id))
    throw new TokenError('invalid_request', 'Send the credentials either by HTTP Basic or in the body, not both.')
  return basic
}

/** Returns the client with these credentials, or null. Throws too_many_failed_credentials. */
export async function findAuthenticatedClient(
  deps: AuthDependencies,
  failedCredentials: FailedCredentials,
  { id, secrets }: ClientCredentials,
  address: string,
): Promise<ClientOfTenant | null> {
  const { keyring, now } = deps
  await failedCredentials.guard(address)
  const client = isClientId(id) ? await findGenuineClient(deps, id) : null
  // The HMACs are computed even if there is no such client, so that the response time does not reveal which clients exist.
  const hmacs = secrets.map((secret) => keyring.lookup('client-secret', secret))
  if (client !== null && !client.revoked) {
    const isPreviousValid = client.previous_secret_until !== null && now() < Date.parse(client.previous_secret_until)
    const valid = [client.secret_hmac, ...(isPreviousValid && client.previous_hmac !== null ? [client.previous_hmac] : [])]
    // Every pair is compared, so that the response time does not reveal which reading or which secret was right.
    const matches = hmacs.flatMap((hmac) => valid.map((validHmac) => sameSecret(hmac, validHmac)))
    if (matches.includes(true)) return client
  }
  // A request counts only once, even if its secret has two readings.
  await failedCredentials.count(address)
  return null
}

/** Returns the requested scopes, by default all scopes of the client. Throws invalid_scope. */
function grantedScopes(client: ClientOfTenant, requested: string | undefined) {
  if (requested === undefined || requested.trim() === '') return client.scopes
  const { scopes, unknown } = parseScopes(requested)
  if (unknown.length > 0 || scopes.some((scope) => !client.scopes.includes(scope))) throw new TokenError('invalid_scope', sentences.scope)
  return scopes
}
