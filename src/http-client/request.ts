import { LRUCache } from 'lru-cache'
import type { Endpoint } from './connect.ts'

/** The parts of a request that follow from its URL. */
export interface Target {
  readonly endpoint: Endpoint
  /** The request line, and the headers that are the same for all requests to the URL. */
  readonly head: string
}

const maxCachedUrls = 10_000

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

/** Returns the bytes of a request, or null if a header has a character that HTTP forbids. */
export function requestOf(target: Target, headers: Readonly<Record<string, string>>, body: Buffer): Buffer | null {
  let head = target.head
  for (const name in headers) {
    const value = headers[name]!
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return null
    head += `${name}: ${value}\r\n`
  }
  head += `Content-Length: ${body.length}\r\n\r\n`
  // The request is one buffer, so that it is one write to the socket, and one TLS record if it is small.
  const request = Buffer.allocUnsafe(head.length + body.length)
  request.write(head, 'latin1')
  body.copy(request, head.length)
  return request
}
