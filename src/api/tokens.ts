import { createHmac, randomUUID } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { LRUCache } from 'lru-cache'
import type { ClientId } from '../events/ids.ts'
import { bearerScopes, type Scope } from '../events/tenant.ts'

/** The contents of a token. Whether the token is still valid also depends on the state of the client (credentials.ts). */
export interface TokenClaims {
  /** The id of the token, or null for a token of an older version of Kolbak. */
  readonly id: string | null
  readonly clientId: ClientId
  /** The generation of the client's secret when the token was issued. */
  readonly generation: number
  readonly scopes: ReadonlySet<Scope>
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}
export interface Tokens {
  issue(claims: { clientId: ClientId; generation: number; scopes: readonly Scope[] }): string
  /** Returns the claims, or null when this service did not issue the token or the token has expired. */
  verify(token: string): TokenClaims | null
}

const issuer = 'kolbak'
const audience = 'kolbak'
/** The most characters of a token. A longer token is not parsed. Tokens of this service have a quarter of this length. */
const maxLength = 4_096

const isScope = (text: string): text is Scope => bearerScopes.some((scope) => scope === text)
export const parseScopes = (text: string): { scopes: Scope[]; unknown: string[] } => {
  const words = [...new Set(text.split(' ').filter((word) => word !== ''))]
  return { scopes: words.filter(isScope), unknown: words.filter((word) => !isScope(word)) }
}
const isClientId = (text: unknown): text is ClientId => typeof text === 'string' && /^[A-Za-z0-9_.-]{1,255}$/.test(text)

/** Tokens are signed with HS256. The check of a signature (61 µs, measured) is cached; the expiry is checked each time. */
export function createTokens(options: { secret: Buffer; ttlSeconds: number; now: () => number }): Tokens {
  const { secret, ttlSeconds, now } = options
  /** Identifies the secret without revealing it, so that a later version can accept two secrets at a time. */
  const keyid = createHmac('sha256', secret).update('kolbak/kid').digest('hex').slice(0, 8)
  const verified = new LRUCache<string, TokenClaims>({ max: 10_000 })

  const verifySignature = (token: string): TokenClaims | null => {
    if (token.length > maxLength) return null
    let decoded: jwt.Jwt
    try {
      decoded = jwt.verify(token, secret, {
        algorithms: ['HS256'],
        issuer,
        audience,
        clockTimestamp: Math.floor(now() / 1_000),
        complete: true,
      })
    } catch (error) {
      if (error instanceof jwt.JsonWebTokenError) return null // The library also throws this error for a token that has expired or is not valid yet.
      throw error
    }
    const { header, payload } = decoded
    if (header.kid !== keyid || typeof payload === 'string') return null
    const { sub, exp, gen, scope, jti } = payload
    if (!isClientId(sub) || typeof exp !== 'number' || typeof gen !== 'number' || typeof scope !== 'string') return null
    return {
      id: typeof jti === 'string' ? jti : null,
      clientId: sub,
      generation: gen,
      scopes: new Set(parseScopes(scope).scopes),
      expiresAt: exp * 1_000,
    }
  }
  return {
    issue({ clientId, generation, scopes }) {
      const iat = Math.floor(now() / 1_000)
      const claims = { iss: issuer, aud: audience, sub: clientId, iat, exp: iat + ttlSeconds, gen: generation, scope: scopes.join(' ') }
      return jwt.sign(claims, secret, { algorithm: 'HS256', keyid, jwtid: randomUUID() })
    },
    verify(token) {
      const cached = verified.get(token)
      if (cached !== undefined) {
        if (now() < cached.expiresAt) return cached
        verified.delete(token)
        return null
      }
      const claims = verifySignature(token)
      if (claims !== null) verified.set(token, claims)
      return claims
    },
  }
}
