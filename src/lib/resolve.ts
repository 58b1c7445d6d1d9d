import { lookup, Resolver } from 'node:dns/promises'
import { LRUCache } from 'lru-cache'

export interface Address {
  readonly address: string
  readonly family: 4 | 6
}
/** Returns all addresses of a name. Throws an error with the code `ENOTFOUND` (there are none) or `EAI_AGAIN` (no answer in time). */
export type Resolve = (host: string) => Promise<readonly Address[]>

const cacheMs = 10_000
const timeoutMs = 1_500
const tries = 2

/**
 * Resolves names without `getaddrinfo`, which occupies one of libuv's four threads until it ends: two names whose servers do not answer
 * would stop every other name, and the file system with them. Only names unknown to DNS go to getaddrinfo, for those of /etc/hosts.
 * Results are cached for ten seconds, failures for one.
 */
export function createNameResolver(): Resolve {
  const dns = new Resolver({ timeout: timeoutMs, tries })
  const cache = new LRUCache<string, Promise<readonly Address[]>>({ max: 10_000, ttl: cacheMs })
  const failure = (code: 'ENOTFOUND' | 'EAI_AGAIN', cause: unknown) =>
    Object.assign(new Error('the name does not resolve', { cause }), { code })
  const ask = async (host: string): Promise<readonly Address[]> => {
    const [four, six] = await Promise.allSettled([dns.resolve4(host), dns.resolve6(host)])
    const found = [
      ...(four.status === 'fulfilled' ? four.value.map((address): Address => ({ address, family: 4 })) : []),
      ...(six.status === 'fulfilled' ? six.value.map((address): Address => ({ address, family: 6 })) : []),
    ]
    if (found.length > 0) return found
    const cause: unknown = four.status === 'rejected' ? four.reason : six.status === 'rejected' ? six.reason : undefined
    if (cause instanceof Error && 'code' in cause && cause.code === 'ETIMEOUT') throw failure('EAI_AGAIN', cause)
    try {
      return (await lookup(host, { all: true })).map(({ address, family }): Address => ({ address, family: family === 6 ? 6 : 4 }))
    } catch (error) {
      throw failure('ENOTFOUND', error)
    }
  }
  return (host) => {
    const known = cache.get(host)
    if (known !== undefined) return known
    const asked = ask(host)
    cache.set(host, asked)
    asked.catch(() => cache.set(host, asked, { ttl: 1_000 })) // the caller gets the error
    return asked
  }
}
