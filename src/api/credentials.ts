import type { IncomingHttpHeaders } from 'node:http'
import type { Credential } from '../events/envelope.ts'
import type { Scope } from '../events/tenant.ts'
import { createGroupCommit } from '../lib/group-commit.ts'
import { sameSecret } from '../lib/same-secret.ts'
import { findKeyByValue, type KeyCredential } from '../projections/api-keys.ts'
import { type ClientOfTenant, findGenuineClients } from '../projections/clients.ts'
import type { ApiDependencies } from './dependencies.ts'
import { ApiError } from './errors.ts'
import type { FailedCredentials } from './failed-credentials.ts'
import type { Identity } from './identity.ts'
import { createRefreshingCache } from './refreshing-cache.ts'
import type { TokenClaims, Tokens } from './tokens.ts'

/** Identifies the caller from the headers of a request. */
export interface Credentials {
  /**
   * Throws ambiguous_credentials, unauthorized, tenant_suspended (unless the token has `read:audit`), or too_many_failed_credentials. Returns a value instead of a promise if the state
   * of the caller is cached, which saves time on the routes of producers.
   */
  identify(headers: IncomingHttpHeaders, accepted: 'bearer' | 'bearer-or-key', address: () => string): Identity | Promise<Identity>
  /** Returns whether the caller is an operator: it has a token with scope `admin`, or the metrics token. */
  isOperator(headers: IncomingHttpHeaders, address: () => string): Promise<boolean>
}

const unauthorized = (message: string, error?: string) =>
  new ApiError('unauthorized', message, {
    headers: { 'www-authenticate': `Bearer realm="kolbak"${error === undefined ? '' : `, error="${error}"`}` },
  })
export const suspended = () => new ApiError('tenant_suspended', 'This account is suspended: nothing is accepted for it.')

/** Refreshes of clients that begin within this many milliseconds are combined into one query. */
const refreshLingerMs = 50
const bearerPattern = /^Bearer +([^ ]+) *$/i
const keyCredential: Credential = { credential: 'api_key', generation: null, token: null }
const keyPattern = /^[A-Z0-9]{12}$/

interface CachedClient {
  readonly client: ClientOfTenant
  /** One identity for each token of this client. */
  readonly identities: Map<string, Identity>
}
interface CachedKey {
  readonly key: KeyCredential
  readonly identity: Identity
}

export function createCredentials(
  deps: Pick<ApiDependencies, 'pool' | 'keyring' | 'usage' | 'now' | 'settings' | 'log'>,
  tokens: Tokens,
  failedCredentials: FailedCredentials,
): Credentials {
  const { usage, now, settings } = deps
  const clients = createClientCache(deps)
  const keys = createKeyCache(deps)

  const refuse = async (address: () => string, message: string, error?: string): Promise<never> => {
    await failedCredentials.guard(address())
    await failedCredentials.count(address())
    throw unauthorized(message, error)
  }
  const refuseToken = (address: () => string) =>
    refuse(address, 'The bearer token is wrong or no longer valid: get a new one from /v1/auth.', 'invalid_token')

  const identifyBearer = (header: string, address: () => string): Identity | Promise<Identity> => {
    const token = bearerPattern.exec(header)?.[1]
    const claims = token === undefined ? null : tokens.verify(token)
    if (claims === null) return refuseToken(address)
    const cached = clients.peek(claims.clientId)
    // Each rotation raises the generation of a client. A token of a lower generation is invalid. A token of a higher generation shows that the cached
    // client is out of date.
    if (cached === undefined || claims.generation > cached.client.generation) return identifyByDatabase(claims, address)
    return identityOf(cached, claims) ?? refuseToken(address)
  }
  const identifyByDatabase = async (claims: TokenClaims, address: () => string): Promise<Identity> => {
    const { clientId } = claims
    const client = await (clients.peek(clientId) === undefined ? clients.get(clientId) : clients.reload(clientId))
    return (client === null ? null : identityOf(client, claims)) ?? refuseToken(address)
  }
  const identifyKey = async (value: string, address: () => string): Promise<Identity> => {
    // A key that is in use stays usable while other callers guess keys from the same address.
    if (!keys.has(value)) await failedCredentials.guard(address())
    const cached = keyPattern.test(value) ? await keys.get(value) : null
    if (cached === null) return refuse(address, 'The API key is wrong or no longer valid.')
    if (cached.key.tenant_suspended) throw suspended()
    usage.touch(cached.key.id, new Date(now()).toISOString())
    return cached.identity
  }
  return {
    identify(headers, accepted, address) {
      const { authorization, 'x-api-key': key } = headers
      // Some generated clients send a token under every scheme that an operation accepts.
      const isSameCredential = authorization === `Bearer ${key}`
      if (authorization !== undefined && key !== undefined && !isSameCredential)
        throw new ApiError('ambiguous_credentials', 'Send either a bearer token or x-api-key, not both.')
      if (authorization !== undefined) return identifyBearer(authorization, address)
      if (key === undefined || accepted === 'bearer')
        throw unauthorized(
          accepted === 'bearer'
            ? 'This request needs a bearer token: get one from /v1/auth.'
            : 'This request needs a bearer token or the header x-api-key.',
        )
      return identifyKey(String(key), address)
    },
    async isOperator(headers, address) {
      const { authorization } = headers
      if (authorization === undefined) return false
      const token = bearerPattern.exec(authorization)?.[1]
      if (token !== undefined && settings.metricsToken !== undefined && sameSecret(token, settings.metricsToken)) return true
      return (await identifyBearer(authorization, address)).caller.scopes.has('admin')
    },
  }
}

function createClientCache(deps: Pick<ApiDependencies, 'pool' | 'keyring' | 'log'>) {
  const queries = createGroupCommit({
    write: (ids: readonly ClientOfTenant['client_id'][]) => findGenuineClients(deps, ids),
    lingerMs: refreshLingerMs,
  })
  return createRefreshingCache(async (id: ClientOfTenant['client_id'], isRefresh): Promise<CachedClient | null> => {
    const client = await queries.add(id, { patient: isRefresh })
    return client === null ? null : { client, identities: new Map() }
  })
}

function createKeyCache(deps: Pick<ApiDependencies, 'pool' | 'keyring' | 'now' | 'log'>) {
  return createRefreshingCache(async (value: string): Promise<CachedKey | null> => {
    const key = await findKeyByValue(deps, value, new Date(deps.now()).toISOString())
    if (key === null) return null
    const { id, tenant, scopes, limits } = key
    return {
      key,
      identity: { caller: { tenant, actor: `key:${id}`, scopes: new Set<Scope>(scopes), key_id: id }, limits, auth: keyCredential },
    }
  })
}

/** Returns the identity for a token of a client, or null when the state of the client has made the token invalid. */
function identityOf({ client, identities }: CachedClient, claims: TokenClaims): Identity | null {
  if (client.revoked || client.generation !== claims.generation) return null
  const token = claims.id ?? [...claims.scopes].join(' ')
  const cached = identities.get(token)
  if (cached !== undefined) return cached
  const scopes = new Set(client.scopes.filter((scope) => claims.scopes.has(scope)))
  if (client.tenant_suspended && !scopes.has('read:audit')) throw suspended()
  const identity: Identity = {
    caller: { tenant: client.tenant, actor: `client:${client.client_id}`, scopes, key_id: null },
    limits: client.limits,
    auth: { credential: 'token', generation: claims.generation, token: claims.id },
    ...(client.tenant_suspended ? { isSuspended: true } : {}),
  }
  identities.set(token, identity)
  return identity
}
