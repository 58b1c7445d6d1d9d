import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { RouteResult } from './route.ts'
import { jsonType } from './route-results.ts'

const requestIdPattern = /^[A-Za-z0-9_.:-]{1,128}$/
/** Returns the request id of the caller if it is safe in a log and a header, or else a new id. */
export function requestIdOf({ 'x-request-id': given }: IncomingHttpHeaders): string {
  return typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID()
}

/** Sends a result whose body is complete. Does nothing when a response was sent already or the caller is gone. */
export function send(res: ServerResponse, { status, headers, body, text }: RouteResult, requestId: string): void {
  if (res.headersSent || res.destroyed) return
  const content = text?.content ?? (body === undefined ? undefined : JSON.stringify(body))
  if (content === undefined) {
    res.writeHead(status, { ...headers, 'x-request-id': requestId }).end()
    return
  }
  res.writeHead(status, {
    ...headers,
    'x-request-id': requestId,
    'content-type': text?.type ?? jsonType,
    'content-length': Buffer.byteLength(content),
    'x-content-type-options': 'nosniff',
  })
  res.end(content)
}

type Stream = NonNullable<RouteResult['stream']>

/** Sends a body chunk by chunk. An error cuts the connection, so that the caller can tell that the body is incomplete. */
export async function sendStream(res: ServerResponse, { status, headers }: RouteResult, stream: Stream, requestId: string): Promise<void> {
  if (res.headersSent || res.destroyed) return
  res.writeHead(status, { ...headers, 'x-request-id': requestId, 'content-type': stream.type, 'x-content-type-options': 'nosniff' })
  if (res.req.method === 'HEAD') res.end()
  else await pipeline(Readable.from(stream.chunks), res)
}

/** Awaits the first chunk before any header is sent, so that an early error becomes an error response and not an empty 200. */
export async function withFirstChunk({ type, chunks }: Stream): Promise<Stream> {
  const iterator = chunks[Symbol.asyncIterator]()
  const first = await iterator.next()
  async function* allChunks() {
    try {
      for (let next = first; !next.done; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  }
  return { type, chunks: allChunks() }
}
