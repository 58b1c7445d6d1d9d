import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { codeOf } from '../lib/errors.ts'
import { pause } from '../lib/retry.ts'
import { ApiError, errorEnvelope, errorSpec, problemOf } from './errors.ts'
import { idHeaders, requestIdsOf, send } from './http-response.ts'
import { envelopeResult } from './route-results.ts'

/** The HTTP server. It listens before the engines are connected, so that `/health/live` works while the process waits for them. */
export interface HttpServer {
  /** Resolves with the port, which is a free one for port 0. Rejects when the port cannot be used. */
  listen(port: number, host: string): Promise<number>
  /** Passes all further requests to the listener. Before this call, only `/health/live` works, and all other requests get 503. */
  serve(listener: RequestListener): void
  /** Aborts when the server begins to close. */
  readonly closing: AbortSignal
  /** Accepts no more connections, finishes the requests in progress, and cuts the connections that are left after `limitMs`. */
  close(limitMs: number): Promise<void>
}

/**
 * Milliseconds for which an idle connection is kept. This is longer than the usual idle time of clients and load balancers, so that they close first
 * and never send into a closed connection.
 */
const keepAliveMs = 65_000
/** Milliseconds for which a refused caller may keep its side open, so that it can still read the response. */
const lingerMs = 1_000

/**
 * @param slowRequestMs the time in which a whole request must arrive
 * @param onError called for errors while the server listens, such as a connection that could not be accepted
 */
export function createHttpServer(slowRequestMs = 30_000, onError: (error: Error) => void = () => {}): HttpServer {
  let listener: RequestListener = refuseWhileStarting
  const server = createStrictServer((req, res) => listener(req, res), slowRequestMs)
  const closing = new AbortController()
  return {
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, () => {
          server.off('error', reject)
          server.on('error', onError)
          const address = server.address()
          resolve(address !== null && typeof address === 'object' ? address.port : port)
        })
      }),
    serve(next) {
      listener = next
    },
    closing: closing.signal,
    close(limitMs) {
      closing.abort()
      return drain(server, limitMs)
    },
  }
}

const refuseWhileStarting: RequestListener = (req, res) => {
  const ids = requestIdsOf(req.headers)
  if (req.method === 'GET' && req.url === '/health/live') return send(res, envelopeResult(200, { status: 'live' }), ids)
  const message = 'Kolbak is starting, and may be waiting for an engine: try again.'
  const problem = problemOf(new ApiError('not_ready', message, { headers: { 'retry-after': '1' } }))
  // The body is not read, so the connection cannot be used for another request.
  send(res, { status: problem.status, headers: { ...problem.headers, connection: 'close' }, body: errorEnvelope(problem) }, ids)
}

/** Creates a server that refuses ambiguous and broken requests, and closes their connections. */
function createStrictServer(listener: RequestListener, slowRequestMs: number): Server {
  /** The latest response of each connection, which shows whether a broken request can still get a response. */
  const responses = new WeakMap<Duplex, ServerResponse>()
  /** Connections on which a request was refused. Their further requests are ignored. */
  const refused = new WeakSet<Duplex>()
  const server = createServer(
    {
      requestTimeout: slowRequestMs,
      headersTimeout: slowRequestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: slowRequestMs / 4,
      insecureHTTPParser: false, // NODE_OPTIONS must not turn it on.
      requireHostHeader: false, // isAmbiguous checks the header, because Node would still serve the next request of the connection.
    },
    (req, res) => {
      if (refused.has(req.socket)) return
      if (isAmbiguous(req)) {
        refuse(req.socket, notHttp())
        return
      }
      responses.set(req.socket, res)
      listener(req, res)
    },
  )
  /** Sends one error response and closes the connection, even if the caller does not close its side. */
  const refuse = (socket: Duplex, error: ApiError) => {
    refused.add(socket)
    const latest = responses.get(socket)
    const isUnderWay = latest !== undefined && !latest.writableFinished
    const destroy = () => socket.destroy()
    if (isUnderWay && latest.req.complete) {
      // The broken request follows a complete request. The response to that request is sent first, and is the last one of the connection.
      latest.once('finish', () => {
        socket.end()
        setTimeout(destroy, lingerMs).unref()
      })
      return
    }
    // Without `destroy`, a request whose body still arrives would be carried out after all.
    if (isUnderWay) socket.end(rawResponse(error), destroy)
    else socket.end(rawResponse(error))
    setTimeout(destroy, lingerMs).unref()
  }
  server.on('clientError', (error, socket) => {
    const latest = responses.get(socket)
    // A request that was refused early has its response already, even if its body was still arriving.
    const wasRefused = latest?.headersSent === true && !latest.req.complete
    if (!socket.writable || wasRefused || codeOf(error) === 'ECONNRESET') socket.destroy()
    else if (!refused.has(socket)) refuse(socket, brokenRequest(error))
  })
  return server
}

/**
 * Returns whether the end or the host of a request is ambiguous, although Node's parser accepts the request. A proxy may have read it differently
 * (request smuggling; RFC 9112, 2.3, 3.2 and 6.1).
 */
function isAmbiguous({ httpVersion, headers, rawHeaders }: IncomingMessage): boolean {
  const encoding = headers['transfer-encoding']
  if (httpVersion !== '1.1') return httpVersion !== '1.0' || encoding !== undefined
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') return true
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') hosts++
  return hosts !== 1
}

/** Returns the error for a request that Node could not parse, or that did not arrive in time. */
function brokenRequest(error: Error): ApiError {
  switch (codeOf(error)) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError('request_timeout', 'The request took too long to arrive.')
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError('headers_too_large', 'The headers are too large.')
    default:
      return notHttp()
  }
}
const notHttp = () => new ApiError('invalid_request', 'This is not a valid HTTP/1.1 request.')

/** Returns a whole error response as text, for a connection on which Node has no response object. */
function rawResponse(error: ApiError): string {
  const { status } = errorSpec(error.code)
  const body = JSON.stringify(errorEnvelope(problemOf(error)))
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(idHeaders(requestIdsOf({}))).map(([name, id]) => `${name}: ${id}`),
    'connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}

async function drain(server: Server, limitMs: number): Promise<void> {
  if (!server.listening) return
  const allClosed = new AbortController()
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      allClosed.abort()
      resolve()
    })
  })
  const end = performance.now() + limitMs
  // Connections become idle one by one, when their responses are sent.
  while (!allClosed.signal.aborted && performance.now() < end) {
    server.closeIdleConnections()
    await pause(Math.min(50, Math.max(0, end - performance.now())), allClosed.signal)
  }
  server.closeAllConnections()
  await closed
}
