import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { ClientId } from '../../events/ids.ts'
import type { Scope } from '../../events/tenant.ts'
import type { Tokens } from '../tokens.ts'

/** The credential that a browser has signed in with. */
export type SessionCredential =
  | { readonly kind: 'client'; readonly client_id: ClientId; readonly generation: number; readonly scopes: readonly Scope[] }
  | { readonly kind: 'key'; readonly key: string }

/**
 * The sessions of the dashboard. A session is a cookie that holds the sealed credential, so it needs no table and every process accepts it. Scripts
 * cannot read the cookie. The API checks the credential at each request, so a rotated secret or a deleted key ends its sessions.
 */
export interface Sessions {
  /** Returns the header `set-cookie` that begins a session, or null if the connection is not safe for a cookie. */
  begin(credential: SessionCredential, headers: IncomingHttpHeaders): string | null
  /** Returns the header `set-cookie` that ends a session. */
  end(headers: IncomingHttpHeaders): string
  /** Adds the credential of the session to the headers of a request for the API, as if the caller had sent it. */
  apply(req: IncomingMessage): void
}

/** A session ends after 12 hours, even while it is used. */
const sessionSeconds = 12 * 3_600
const plainName = 'kolbak-ui'
/** Browsers accept a cookie with this prefix only over TLS, for the whole host, and from the host itself. */
const secureName = '__Host-kolbak-ui'

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i
const isLoopback = ({ host = '' }: IncomingHttpHeaders): boolean => loopback.test(host)
/** Returns whether the browser used TLS. A proxy may have ended it, so this is read from `Origin`, which a browser sends with every POST. */
const isTls = ({ origin = '' }: IncomingHttpHeaders): boolean => origin.startsWith('https://')

/**
 * Returns whether the dashboard itself sent the request. A browser names the site that sends a request in `Sec-Fetch-Site`. A page of another site may
 * send the header `x-kolbak-ui` only if the API permits that (CORS), and the API never does.
 */
export function isOwnRequest({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') return false
  const hasHeader = headers['x-kolbak-ui'] === '1'
  return hasHeader || (site === 'same-origin' && (method === 'GET' || method === 'HEAD'))
}

/** @param secret the secret that signs bearer tokens; the key of the sessions is derived from it */
export function createSessions(options: { secret: Buffer; tokens: Tokens; tokenTtlSeconds: number; now: () => number }): Sessions {
  const { secret, tokens, tokenTtlSeconds, now } = options
  const codec = createCodec(secret)
  const credentialHeaders = new LRUCache<string, { readonly headers: IncomingHttpHeaders; readonly until: number }>({ max: 10_000 })

  const headersOf = (value: string): IncomingHttpHeaders | null => {
    const cached = credentialHeaders.get(value)
    if (cached !== undefined && now() < cached.until) return cached.headers
    const session = codec.open(value)
    if (session === null || now() >= session.expires_at) return null
    const { credential, expires_at } = session
    const headers: IncomingHttpHeaders =
      credential.kind === 'key'
        ? { 'x-api-key': credential.key }
        : { authorization: `Bearer ${tokens.issue({ ...credential, clientId: credential.client_id })}` }
    credentialHeaders.set(value, { headers, until: Math.min(expires_at, now() + (tokenTtlSeconds * 1_000) / 2) })
    return headers
  }
  const cookie = (headers: IncomingHttpHeaders, value: string, maxAge: number) => {
    const name = isTls(headers) ? `${secureName}=${value}; Secure` : `${plainName}=${value}`
    return `${name}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAge}`
  }
  return {
    begin(credential, headers) {
      if (!isTls(headers) && !isLoopback(headers)) return null
      return cookie(headers, codec.seal({ credential, expires_at: now() + sessionSeconds * 1_000 }), sessionSeconds)
    },
    end: (headers) => cookie(headers, '', 0),
    apply(req) {
      const { headers } = req
      if (headers.cookie === undefined || headers.authorization !== undefined || headers['x-api-key'] !== undefined) return
      const value = cookieOf(headers)
      if (value === null || !isOwnRequest(req)) return
      Object.assign(headers, headersOf(value))
    },
  }
}

/** Returns the session cookie. The name without the prefix counts only on this machine, because any site could set it over plain HTTP. */
function cookieOf(headers: IncomingHttpHeaders): string | null {
  for (const name of isLoopback(headers) ? [secureName, plainName] : [secureName])
    for (const pair of headers.cookie?.split(';') ?? []) {
      const [key = '', value = ''] = pair.trim().split('=')
      if (key === name && value !== '') return value
    }
  return null
}

interface Session {
  readonly credential: SessionCredential
  /** Milliseconds since 1970. */
  readonly expires_at: number
}
/** Seals sessions by AES-256-GCM. The bytes are: nonce (12), tag (16), ciphertext. */
function createCodec(secret: Buffer) {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'kolbak/ui-session', 32))
  return {
    seal(session: Session): string {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce)
      const sealed = Buffer.concat([cipher.update(JSON.stringify(session)), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')
    },
    /** Returns the session, or null if this service did not seal the value. */
    open(value: string): Session | null {
      const bytes = Buffer.from(value, 'base64url')
      if (bytes.length < 28) return null
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12))
      decipher.setAuthTag(bytes.subarray(12, 28))
      try {
        const text = Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString()
        return JSON.parse(text) as Session
      } catch {
        return null // the tag does not match
      }
    },
  }
}
