import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { monotonicFactory } from 'ulid'
import { createRandomNumbers } from '../lib/random-numbers.ts'
import type { RouteResult } from './route.ts'
import { jsonType } from './route-results.ts'

const requestIdPattern = /^[A-Za-z0-9_.:-]{1,128}$/
/** Makes the ids of requests. The library's own random numbers would cost 8 µs a request, because it asks for 16 of them one by one (measured). */
const nextId = monotonicFactory(createRandomNumbers())

/** The two ids of a request. They are equal if the caller sent no usable id. */
export interface RequestIds {
  /** Kolbak's own id (a ULID). No caller can choose it, so it identifies the request in the audit log. */
  readonly kolbakId: string
  /** The caller's `x-request-id` if it is safe in a log and a header. Several requests may have the same one. */
  readonly correlation: string
}
export function requestIdsOf({ 'x-request-id': given }: IncomingHttpHeaders): RequestIds {
  const kolbakId = nextId()
  return { kolbakId, correlation: typeof given === 'string' && requestIdPattern.test(given) ? given : kolbakId }
}
export const idHeaders = ({ kolbakId, correlation }: RequestIds) => ({ 'x-request-id': correlation, 'kolbak-request-id': kolbakId })

/** Sends a result whose body is complete. Does nothing when a response was sent already or the caller is gone. */
export function send(res: ServerResponse, { status, headers, body, text }: RouteResult, ids: RequestIds): void {
  if (res.headersSent || res.destroyed) return
  const content = text?.content ?? (body === undefined ? undefined : JSON.stringify(body))
  if (content === undefined) {
    res.writeHead(status, { ...headers, ...idHeaders(ids) }).end()
    return
  }
  res.writeHead(status, {
    ...headers,
    ...idHeaders(ids),
    'content-type': text?.type ?? jsonType,
    'content-length': Buffer.byteLength(content),
    'x-content-type-options': 'nosniff',
  })
  res.end(content)
}

type Stream = NonNullable<RouteResult['stream']>

/** Sends a body chunk by chunk. An error cuts the connection, so that the caller can tell that the body is incomplete. */
export async function sendStream(res: ServerResponse, { status, headers }: RouteResult, stream: Stream, ids: RequestIds): Promise<void> {
  if (res.headersSent || res.destroyed) return
  res.writeHead(status, { ...headers, ...idHeaders(ids), 'content-type': stream.type, 'x-content-type-options': 'nosniff' })
  if (res.req.method === 'HEAD') res.end()
  else await pipeline(Readable.from(stream.chunks), res)
}

/** Awaits the first chunk before any header is sent, so that an early error becomes an error response and not an empty 200. */
export async function withFirstChunk({ chunks, ...stream }: Stream): Promise<Stream> {
  const iterator = chunks[Symbol.asyncIterator]()
  const first = await iterator.next()
  async function* allChunks() {
    try {
      for (let next = first; !next.done; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  }
  return { ...stream, chunks: allChunks() }
}
