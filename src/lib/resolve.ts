import { lookup, Resolver } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { Address } from './addresses.ts'
import { codeOf } from './errors.ts'
import { createHostsFile } from './hosts-file.ts'

export interface Resolution {
  readonly addresses: readonly Address[]
  /** The addresses of the other family (IPv4 or IPv6), if DNS has not responded for that family yet. The promise never rejects. */
  readonly lateAddresses?: Promise<readonly Address[]>
}
/** Returns the addresses of a name. Throws an error with the code `ENOTFOUND` (the name has none) or `EAI_AGAIN` (DNS did not respond in time). */
export type Resolve = (host: string) => Promise<Resolution>

const cacheMs = 10_000
/** Milliseconds of the first try. The second try waits twice as long, so a query ends after at most 3 s. */
const timeoutMs = 1_000
const tries = 2
/** After DNS has responded for one family, the resolver waits this many milliseconds for the other (RFC 8305, 3: Resolution Delay). */
const otherFamilyMs = 50

interface FamilyResult {
  readonly addresses: readonly Address[]
  /** The code of the error, if there are no addresses. */
  readonly code?: string | undefined
}

/**
 * Resolves names without `getaddrinfo`, because each of its calls occupies one of libuv's four threads. A few names whose servers do not respond
 * would block every other name, and the file system too. /etc/hosts is read first, so that an override there works. If DNS does not know a name,
 * `getaddrinfo` is called, because it also knows search domains. Results are kept for 10 s, failures for 1 s.
 * @param options for tests
 */
export function createNameResolver(options: { readonly hostsFile?: string; readonly nameServers?: readonly string[] } = {}): Resolve {
  const dns = new Resolver({ timeout: timeoutMs, tries })
  if (options.nameServers !== undefined) dns.setServers(options.nameServers)
  const inHostsFile = createHostsFile(options.hostsFile)
  const cache = new LRUCache<string, Promise<Resolution>>({ max: 10_000, ttl: cacheMs })

  const ask = async (host: string, family: 4 | 6): Promise<FamilyResult> => {
    try {
      const texts = family === 4 ? await dns.resolve4(host) : await dns.resolve6(host)
      return { addresses: texts.map((address) => ({ address, family })) }
    } catch (error) {
      return { addresses: [], code: codeOf(error) }
    }
  }
  const askDns = async (host: string): Promise<Resolution & FamilyResult> => {
    const four = ask(host, 4)
    const six = ask(host, 6)
    const first = await Promise.race([four, six])
    const otherFamily = Promise.all([four, six]).then(([a, b]) => (first === a ? b : a))
    // Some name servers deny the name itself when it has no addresses of one family (RFC 4074, 4.2).
    if (first.addresses.length === 0) return otherFamily
    const stop = new AbortController()
    const secondResult = await Promise.race([otherFamily, sleep(otherFamilyMs, undefined, { signal: stop.signal })])
    stop.abort()
    if (secondResult === undefined) return { addresses: first.addresses, lateAddresses: otherFamily.then(({ addresses }) => addresses) }
    return { addresses: [...first.addresses, ...secondResult.addresses] }
  }
  const resolve = async (host: string): Promise<Resolution> => {
    const overrides = await inHostsFile(host)
    if (overrides.length > 0) return { addresses: overrides }
    const { code, ...resolution } = await askDns(host)
    if (resolution.addresses.length > 0) return resolution
    if (code === 'ETIMEOUT') throw unresolved('EAI_AGAIN')
    try {
      const entries = await lookup(host, { all: true })
      return { addresses: entries.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 })) }
    } catch (error) {
      throw unresolved(codeOf(error) === 'EAI_AGAIN' ? 'EAI_AGAIN' : 'ENOTFOUND', error)
    }
  }
  return (host) => {
    const cached = cache.get(host)
    if (cached !== undefined) return cached
    const resolution = resolve(host)
    cache.set(host, resolution)
    resolution.catch(() => cache.set(host, resolution, { ttl: 1_000 })) // every caller handles the error
    return resolution
  }
}

const unresolved = (code: 'ENOTFOUND' | 'EAI_AGAIN', cause?: unknown) =>
  Object.assign(new Error('the name does not resolve', { cause }), { code })
