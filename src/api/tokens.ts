import { createHmac } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { LRUCache } from 'lru-cache'
import type { ClientId } from '../events/ids.ts'
import { bearerScopes, type Scope } from '../events/tenant.ts'

/** What a token says. Whether it still holds is the client's state to say: see credentials.ts. */
export interface TokenClaims {
  readonly clientId: ClientId
  /** Of the client's secret when it was issued. */
  readonly generation: number
  readonly scopes: ReadonlySet<Scope>
  /** Milliseconds. */
  readonly expiresAt: number
}
export interface Tokens {
  issue(claims: { clientId: ClientId; generation: number; scopes: readonly Scope[] }): string
  /** The claims of a token that is ours and not expired, or null. */
  verify(token: string): TokenClaims | null
}

const issuer = 'kolbak'
const audience = 'kolbak'
/** Ours are a quarter of it: what is longer is not parsed. */
const maxLength = 4_096

const isScope = (text: string): text is Scope => bearerScopes.some((scope) => scope === text)
export const parseScopes = (text: string): { scopes: Scope[]; unknown: string[] } => {
  const words = [...new Set(text.split(' ').filter((word) => word !== ''))]
  return { scopes: words.filter(isScope), unknown: words.filter((word) => !isScope(word)) }
}
const isClientId = (text: unknown): text is ClientId => typeof text === 'string' && /^[A-Za-z0-9_.-]{1,255}$/.test(text)

/** HS256 alone; the signature check of a token (61 µs, measured) is remembered, its life is looked at each time. */
export function createTokens(options: { secret: Buffer; ttlSeconds: number; now: () => number }): Tokens {
  const { secret, ttlSeconds, now } = options
  /** Names the secret without saying anything of it, for the day when two are valid. */
  const keyid = createHmac('sha256', secret).update('kolbak/kid').digest('hex').slice(0, 8)
  const checked = new LRUCache<string, TokenClaims>({ max: 10_000 })

  const check = (token: string): TokenClaims | null => {
    if (token.length > maxLength) return null
    let verified: jwt.Jwt
    try {
      verified = jwt.verify(token, secret, {
        algorithms: ['HS256'],
        issuer,
        audience,
        clockTimestamp: Math.floor(now() / 1_000),
        complete: true,
      })
    } catch (error) {
      if (error instanceof jwt.JsonWebTokenError) return null // expired and not-yet-valid ones are of this class too
      throw error
    }
    const { header, payload } = verified
    if (header.kid !== keyid || typeof payload === 'string') return null
    const { sub, exp, gen, scope } = payload
    if (!isClientId(sub) || typeof exp !== 'number' || typeof gen !== 'number' || typeof scope !== 'string') return null
    return { clientId: sub, generation: gen, scopes: new Set(parseScopes(scope).scopes), expiresAt: exp * 1_000 }
  }
  return {
    issue({ clientId, generation, scopes }) {
      const iat = Math.floor(now() / 1_000)
      const claims = { iss: issuer, aud: audience, sub: clientId, iat, exp: iat + ttlSeconds, gen: generation, scope: scopes.join(' ') }
      return jwt.sign(claims, secret, { algorithm: 'HS256', keyid })
    },
    verify(token) {
      const known = checked.get(token)
      if (known !== undefined) {
        if (now() < known.expiresAt) return known
        checked.delete(token)
        return null
      }
      const fresh = check(token)
      if (fresh !== null) checked.set(token, fresh)
      return fresh
    },
  }
}
