import { setTimeout as sleep } from 'node:timers/promises'
import ipaddr from 'ipaddr.js'
import type { AddressPolicy } from '../lib/addresses.ts'
import { KolbakError } from '../lib/errors.ts'
import { createNameResolver } from '../lib/resolve.ts'

const resolveName = createNameResolver()
const resolveMs = 3_000

/**
 * Returns the addresses of a name. Returns none when the name does not resolve, or its name servers are slow: it may resolve by
 * the first message, and each request checks its address again.
 */
async function resolveInTime(host: string): Promise<string[]> {
  const stop = new AbortController()
  const timeIsUp = sleep(resolveMs, [], { signal: stop.signal }).catch(() => [])
  const resolution = resolveName(host).catch(() => ({ addresses: [], late: undefined }))
  try {
    const addresses = await Promise.race([resolution.then((resolved) => resolved.addresses), timeIsUp])
    const lateAddresses = await Promise.race([resolution.then(({ late }) => late ?? []), timeIsUp])
    return [...addresses, ...lateAddresses].map(({ address }) => address)
  } finally {
    stop.abort()
  }
}

const invalid = (why: string) => new KolbakError('invalid_url', why)
const refused = (why: string) => new KolbakError('address_refused', why)
const notPublic =
  'The host is not a public address. Addresses that are not public are refused unless KOLBAK_ALLOWED_SUBNETS names their subnet.'
const plainHttp = 'Plain http: is only for subnets named by KOLBAK_ALLOWED_SUBNETS, or set KOLBAK_ALLOW_HTTP=true.'

/**
 * Checks a callback URL when a webhook is created or changed. Names are resolved. A name that does not resolve (yet) passes, because
 * each request is checked again when its socket connects. Throws KolbakError `invalid_url` or `address_refused`.
 */
export async function checkCallbackUrl(text: string, policy: AddressPolicy, resolve = resolveInTime): Promise<void> {
  if (!URL.canParse(text)) throw invalid('It is not an absolute URL.')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw invalid('Only https: and http: URLs can be called.')
  if (url.username !== '' || url.password !== '') throw invalid('A URL must not hold credentials.')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const addresses = ipaddr.isValid(host) ? [host] : await resolve(host)
  if (!addresses.every((address) => policy.allows(address))) throw refused(notPublic)
  // A name without addresses is accepted for plain http only if the policy accepts plain http for every address.
  const isPlain = url.protocol === 'http:'
  if (isPlain && !(addresses.length === 0 ? ['0.0.0.0'] : addresses).every((address) => policy.allowsPlainHttp(address)))
    throw refused(plainHttp)
}
