import { LRUCache } from 'lru-cache'
import type { Endpoint } from './connect.ts'

/** The parts of a request that follow from its URL. */
export interface Target {
  readonly endpoint: Endpoint
  /** The request line, and the headers that are the same for all requests to the URL. */
  readonly head: string
}

const maxCachedUrls = 10_000

/** Headers that only this file writes. If a request had one of them twice, receivers and proxies could read it in different ways. */
const reservedNames = new Set(['host', 'connection', 'content-length', 'transfer-encoding'])
const namePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/ // RFC 9110 calls this a token
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * Returns a sentence that says what is wrong with the headers of a request, or null. Two names that differ only in case are the same name.
 * @param commonNames the headers that every request has, in lower case
 */
export function headerFault(headers: Readonly<Record<string, string>>, commonNames: ReadonlySet<string>): string | null {
  const names = new Set<string>()
  for (const name in headers) {
    if (!namePattern.test(name)) return `The request has a header named ${JSON.stringify(name)}, and HTTP forbids one of its characters.`
    if (!valuePattern.test(headers[name]!)) return `The header ${name} of the request has a character that HTTP forbids.`
    const lowerCase = name.toLowerCase()
    if (reservedNames.has(lowerCase)) return `Only the HTTP client may write the header ${name} of a request.`
    if (names.has(lowerCase) || commonNames.has(lowerCase)) return `The request has the header ${name} twice.`
    names.add(lowerCase)
  }
  return null
}

/** Returns a function that parses a URL, or returns null for an invalid one. It keeps the results, so that a URL is not parsed for each request. */
export function createTargetCache(headers: Readonly<Record<string, string>>): (url: string) => Target | null {
  const targets = new LRUCache<string, Target>({ max: maxCachedUrls })
  const commonHeaders = Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
  return (url) => {
    const cached = targets.get(url)
    if (cached !== undefined) return cached
    const target = parse(url, commonHeaders)
    if (target !== null) targets.set(url, target)
    return target
  }
}

function parse(text: string, commonHeaders: string): Target | null {
  if (!URL.canParse(text)) return null
  const { protocol, hostname, host, port, origin, pathname, search } = new URL(text)
  const isTls = protocol === 'https:'
  if (!isTls && protocol !== 'http:') return null
  const endpoint = {
    origin,
    isTls,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (isTls ? 443 : 80) : Number(port),
  }
  return { endpoint, head: `POST ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nConnection: keep-alive\r\n${commonHeaders}` }
}

/** Returns the bytes of a request. The caller has checked the headers with `headerFault`. */
export function requestOf(target: Target, headers: Readonly<Record<string, string>>, body: Buffer): Buffer {
  let head = target.head
  for (const name in headers) head += `${name}: ${headers[name]}\r\n`
  head += `Content-Length: ${body.length}\r\n\r\n`
  // The request is one buffer, so that it is one write to the socket, and one TLS record if it is small.
  const request = Buffer.allocUnsafe(head.length + body.length)
  request.write(head, 'latin1')
  body.copy(request, head.length)
  return request
}
