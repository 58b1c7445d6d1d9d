import type { IncomingHttpHeaders } from 'node:http'
import type { Scope } from '../events/tenant.ts'
import { createGroupCommit } from '../lib/group-commit.ts'
import { sameSecret } from '../lib/same-secret.ts'
import { findKeyByValue, type KeyCredential } from '../projections/api-keys.ts'
import { type ClientOfTenant, findClients } from '../projections/clients.ts'
import type { ApiDependencies } from './dependencies.ts'
import { ApiError } from './errors.ts'
import type { FailedCredentials } from './failed-credentials.ts'
import { recent } from './refreshing-cache.ts'
import type { Identity } from './route.ts'
import type { TokenClaims, Tokens } from './tokens.ts'

/** Who asks, from the headers of a request. */
export interface Credentials {
  /**
   * Throws ambiguous_credentials, unauthorized, tenant_suspended, or too_many_failed_credentials.
   * Answers without waiting when the caller's state is at hand, as on the hot path.
   */
  identify(headers: IncomingHttpHeaders, accepted: 'bearer' | 'bearer-or-key', address: () => string): Identity | Promise<Identity>
  /** Whether an operator asks: a token with scope `admin`, or the metrics token. */
  isOperator(headers: IncomingHttpHeaders, address: () => string): Promise<boolean>
}

const unauthorized = (message: string, error?: string) =>
  new ApiError('unauthorized', message, {
    headers: { 'www-authenticate': `Bearer realm="kolbak"${error === undefined ? '' : `, error="${error}"`}` },
  })
const suspended = () => new ApiError('tenant_suspended', 'This account is suspended: nothing is accepted for it.')

/** So long renewals of clients wait for one another. */
const renewalsMs = 50
const bearerPattern = /^Bearer +([^ ]+) *$/i
const keyPattern = /^[A-Z0-9]{12}$/

interface ClientCopy {
  readonly client: ClientOfTenant
  /** One identity for each set of scopes that tokens of this client were narrowed to. */
  readonly identities: Map<string, Identity>
}
interface KeyCopy {
  readonly key: KeyCredential
  readonly identity: Identity
}

export function credentials(
  deps: Pick<ApiDependencies, 'pool' | 'keyring' | 'usage' | 'now' | 'settings'>,
  tokens: Tokens,
  failed: FailedCredentials,
): Credentials {
  const { pool, keyring, usage, now, settings } = deps
  const time = () => new Date(now()).toISOString()

  // With many clients, their renewals go together.
  const asked = createGroupCommit({ write: (ids: readonly ClientOfTenant['id'][]) => findClients(pool, ids), lingerMs: renewalsMs })
  const clients = recent(async (id: ClientOfTenant['id'], isRenewal): Promise<ClientCopy | null> => {
    const client = await asked.add(id, { patient: isRenewal })
    return client === null ? null : { client, identities: new Map() }
  })
  const keys = recent(async (value: string): Promise<KeyCopy | null> => {
    const key = await findKeyByValue({ pool, keyring }, value, time())
    if (key === null) return null
    const { id, tenant, scopes, limits } = key
    return { key, identity: { caller: { tenant, actor: `key:${id}`, scopes: new Set<Scope>(scopes), key_id: id }, limits } }
  })

  /** Null when the client's state does not bear the token (any more). */
  const bearing = ({ client, identities }: ClientCopy, claims: TokenClaims): Identity | null => {
    if (client.revoked || client.generation !== claims.generation) return null
    if (client.tenant_suspended) throw suspended()
    const narrowed = [...claims.scopes].join(' ')
    const known = identities.get(narrowed)
    if (known !== undefined) return known
    const scopes = new Set(client.scopes.filter((scope) => claims.scopes.has(scope)))
    const identity: Identity = {
      caller: { tenant: client.tenant, actor: `client:${client.id}`, scopes, key_id: null },
      limits: client.limits,
    }
    identities.set(narrowed, identity)
    return identity
  }
  const refuse = async (address: () => string, message: string, error?: string): Promise<never> => {
    await failed.guard(address())
    await failed.count(address())
    throw unauthorized(message, error)
  }
  const refuseToken = (address: () => string) =>
    refuse(address, 'The bearer token is not valid (any more): get a new one from /v1/auth.', 'invalid_token')

  const identifyBearer = (header: string, address: () => string): Identity | Promise<Identity> => {
    const token = bearerPattern.exec(header)?.[1]
    const claims = token === undefined ? null : tokens.verify(token)
    if (claims === null) return refuseToken(address)
    const copy = clients.peek(claims.clientId)
    // Generations only rise: an older token than the copy is void, a newer one says that the copy is old.
    if (copy === undefined || claims.generation > copy.client.generation) return identifyFresh(claims, address)
    return bearing(copy, claims) ?? refuseToken(address)
  }
  const identifyFresh = async (claims: TokenClaims, address: () => string): Promise<Identity> => {
    const copy = await (clients.peek(claims.clientId) === undefined ? clients.get(claims.clientId) : clients.reload(claims.clientId))
    return (copy === null ? null : bearing(copy, claims)) ?? refuseToken(address)
  }
  const identifyKey = async (value: string, address: () => string): Promise<Identity> => {
    // A key in use is not shut out by whoever guesses from the same address.
    if (!keys.knows(value)) await failed.guard(address())
    const copy = keyPattern.test(value) ? await keys.get(value) : null
    if (copy === null) return refuse(address, 'The API key is not valid (any more).')
    if (copy.key.tenant_suspended) throw suspended()
    usage.touch(copy.key.id, time())
    return copy.identity
  }
  return {
    identify(headers, accepted, address) {
      const { authorization, 'x-api-key': key } = headers
      if (authorization !== undefined && key !== undefined)
        throw new ApiError('ambiguous_credentials', 'Send either a bearer token or x-api-key, not both.')
      if (authorization !== undefined) return identifyBearer(authorization, address)
      if (key === undefined || accepted === 'bearer')
        throw unauthorized(
          accepted === 'bearer' ? 'This needs a bearer token: get one from /v1/auth.' : 'This needs a bearer token or x-api-key.',
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
