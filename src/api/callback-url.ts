import { setTimeout as sleep } from 'node:timers/promises'
import ipaddr from 'ipaddr.js'
import type { AddressPolicy } from '../lib/addresses.ts'
import { KolbakError } from '../lib/errors.ts'
import { createNameResolver } from '../lib/resolve.ts'

const resolveName = createNameResolver()
const resolveMs = 3_000

/**
 * Returns the addresses of a name, or none if the name does not resolve or its name servers are slow. Such a name may resolve later, and each request
 * checks its address again.
 */
async function resolveInTime(host: string): Promise<string[]> {
  const stop = new AbortController()
  const timeIsUp = sleep(resolveMs, [], { signal: stop.signal }).catch(() => [])
  const resolution = resolveName(host).catch(() => ({ addresses: [], lateAddresses: undefined }))
  try {
    const addresses = await Promise.race([resolution.then((resolved) => resolved.addresses), timeIsUp])
    const lateAddresses = await Promise.race([resolution.then((resolved) => resolved.lateAddresses ?? []), timeIsUp])
    return [...addresses, ...lateAddresses].map(({ address }) => address)
  } finally {
    stop.abort()
  }
}

/** The most characters of a callback URL. */
export const maxUrlLength = 2_048

const invalid = (why: string) => new KolbakError('invalid_url', why)
const refused = (why: string) => new KolbakError('address_refused', why)
const notPublic =
  'The host is not a public address. Addresses that are not public are refused unless KOLBAK_ALLOWED_SUBNETS names their subnet.'
const thisMachine =
  'The host is the machine of Kolbak itself, which is refused: start Kolbak with `npm run dev` to try receivers on this machine, or name its subnet in KOLBAK_ALLOWED_SUBNETS.'
const plainHttp = 'Plain http: is only for subnets named by KOLBAK_ALLOWED_SUBNETS, or set KOLBAK_ALLOW_HTTP=true.'
const unresolved = 'The name of the host does not resolve. Until it does, only an https: URL can be accepted.'

/** Matches a URL that has only characters which RFC 3986 allows. */
const plainCharacters = /^[\w\-.~:/?#[\]@!$&'()*+,;=%]*$/

/**
 * Returns a callback URL as it is stored, shown and called. Characters that RFC 3986 does not allow are escaped, and a host such as
 * `0x7f.1` or `ü.example` becomes `127.0.0.1` or `xn--tda.example`, because programs read such spellings in different ways.
 * Spellings that all programs read alike stay as they are: capitals in the host, a default port, `..`, or no path.
 * @param text a valid URL
 */
export function normalUrl(text: string): string {
  const { protocol, hostname, href } = new URL(text)
  const isPlainHost = hostname.startsWith('[') || text.toLowerCase().startsWith(`${protocol}//${hostname}`)
  return isPlainHost && plainCharacters.test(text) ? text : href
}

function parse(text: string): URL {
  if (/[\s\p{Cc}\\]/u.test(text))
    throw invalid('A URL must not contain spaces, control characters or backslashes. They can be written as %20, for example.')
  if (!text.isWellFormed()) throw invalid('A URL must not contain half of a surrogate pair.')
  if (!URL.canParse(text)) throw invalid('It is not an absolute URL.')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw invalid('Only https: and http: URLs can be called.')
  if (!/^https?:\/\//i.test(text)) throw invalid('A URL must have two slashes after https: or http:.')
  if (url.username !== '' || url.password !== '') throw invalid('A URL must not hold credentials.')
  if (url.port === '0') throw invalid('Port 0 cannot be called.')
  if (normalUrl(text).length > maxUrlLength)
    throw invalid(`It must have at most ${maxUrlLength} characters once its special characters are escaped.`)
  return url
}

/**
 * Returns whether a host obviously is this machine. An error says so only for such a host, because callers must not learn to which address a name
 * leads.
 */
const isThisMachine = (host: string): boolean =>
  /^localhost\.?$/i.test(host) || (ipaddr.isValid(host) && ipaddr.process(host).range() === 'loopback')

/**
 * Checks a callback URL when a webhook is created or changed. Names are resolved. A name that does not resolve (yet) passes, because
 * each request is checked again when its socket connects. Throws KolbakError `invalid_url` or `address_refused`.
 */
export async function checkCallbackUrl(text: string, policy: AddressPolicy, resolve = resolveInTime): Promise<void> {
  const url = parse(text)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const addresses = ipaddr.isValid(host) ? [host] : await resolve(host)
  if (!addresses.every((address) => policy.allows(address))) throw refused(isThisMachine(host) ? thisMachine : notPublic)
  if (url.protocol === 'https:') return
  // A name without addresses is accepted for plain http only if the policy accepts plain http for every address.
  if (addresses.length === 0 && !policy.allowsPlainHttp('0.0.0.0')) throw refused(unresolved)
  if (!addresses.every((address) => policy.allowsPlainHttp(address))) throw refused(plainHttp)
}
