import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { codeOf } from '../lib/errors.ts'
import { pause } from '../lib/retry.ts'
import { ApiError, type ErrorCode, errorEnvelope, problemOf, statuses } from './errors.ts'
import { requestIdOf, send } from './pipeline.ts'
import { envelopeResult } from './route-results.ts'

/** The HTTP server: it listens before there is anything behind it, so that a process whose engines are down is seen to live. */
export interface HttpServer {
  /** Resolves with the port that is listened on (0 asks for a free one); rejects when there is none to have. */
  listen(port: number, host: string): Promise<number>
  /** Gives requests to this from now on; before it `/health/live` alone is answered, and all else is 503. */
  open(listener: RequestListener): void
  /** Takes no more connections, finishes the requests under way, and after the limit cuts what is left. */
  close(limitMs: number): Promise<void>
}

/** Longer than the usual idle times of clients and load balancers, so that they close first and lose no request to it. */
const keepAliveMs = 65_000
/** To read what they were refused with, for callers who leave their side open. */
const lingerMs = 1_000

/**
 * @param slowRequestMs for the whole of a request to arrive
 * @param onError told of what fails while it listens, such as a connection that could not be accepted
 */
export function createHttpServer(slowRequestMs = 30_000, onError: (error: Error) => void = () => {}): HttpServer {
  let listener: RequestListener = starting
  const server = serverFor((req, res) => listener(req, res), slowRequestMs)
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
    open(next) {
      listener = next
    },
    close: (limitMs) => drain(server, limitMs),
  }
}

/** What is answered while the engines are waited for. */
const starting: RequestListener = (req, res) => {
  const requestId = requestIdOf(req.headers)
  if (req.method === 'GET' && req.url === '/health/live') return send(res, envelopeResult(200, { status: 'live' }), requestId)
  const sentence = 'Kolbak is starting, and may be waiting for an engine: try again.'
  const problem = problemOf(new ApiError('not_ready', sentence, { headers: { 'retry-after': '1' } }))
  // What the caller sends is not read: the connection ends with the answer.
  send(res, { status: problem.status, headers: { ...problem.headers, connection: 'close' }, body: errorEnvelope(problem) }, requestId)
}

function serverFor(listener: RequestListener, slowRequestMs: number): Server {
  /** The last answer of each connection, to tell whether a broken request still can be answered. */
  const answers = new WeakMap<Duplex, ServerResponse>()
  /** Connections that are over: nothing more that comes on them is carried out. */
  const refused = new WeakSet<Duplex>()
  const server = createServer(
    {
      requestTimeout: slowRequestMs,
      headersTimeout: slowRequestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: Math.min(1_000, slowRequestMs / 4),
      insecureHTTPParser: false, // whatever NODE_OPTIONS says
      requireHostHeader: false, // Node's own refusal lets the next request of the connection pass: see isAmbiguous
    },
    (req, res) => {
      if (refused.has(req.socket)) return
      if (isAmbiguous(req)) {
        refuse(req.socket, notHttp())
        return
      }
      answers.set(req.socket, res)
      listener(req, res)
    },
  )
  /** One answer, and the connection ends, whether its caller hangs up or not. */
  const refuse = (socket: Duplex, error: ApiError) => {
    refused.add(socket)
    const last = answers.get(socket)
    const destroy = () => socket.destroy()
    if (last !== undefined && !last.writableFinished && last.req.complete) {
      // The next request is the broken one: the answer that is under way goes first, and is the last.
      last.once('finish', () => {
        socket.end()
        setTimeout(destroy, lingerMs).unref()
      })
      return
    }
    // Else a body that still comes in would be carried out after all.
    const isUnderWay = last !== undefined && !last.writableFinished
    if (isUnderWay) socket.end(rawAnswer(error), destroy)
    else socket.end(rawAnswer(error))
    setTimeout(destroy, lingerMs).unref()
  }
  server.on('clientError', (error, socket) => {
    const last = answers.get(socket)
    // A refused request whose body still came, and too slowly, has had its answer.
    const wasRefused = last?.headersSent === true && !last.req.complete
    if (!socket.writable || wasRefused || codeOf(error) === 'ECONNRESET') socket.destroy()
    else if (!refused.has(socket)) refuse(socket, brokenRequest(error))
  })
  return server
}

/**
 * Whether the head leaves a doubt about where the request ends or whom it is for, which Node's parser lets pass: another
 * server on the way may have read it otherwise (request smuggling; RFC 9112, 2.3, 3.2 and 6.1).
 */
function isAmbiguous({ httpVersion, headers, rawHeaders }: IncomingMessage): boolean {
  const encoding = headers['transfer-encoding']
  if (httpVersion !== '1.1') return httpVersion !== '1.0' || encoding !== undefined
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') return true
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') hosts++
  return hosts !== 1
}

/** What is wrong with a request that Node could not read, or that took too long to come. */
function brokenRequest(error: Error): ApiError {
  switch (codeOf(error)) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError('request_timeout', 'The request took too long to arrive.')
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError('headers_too_large', 'The headers are larger than what is taken here.')
    default:
      return notHttp()
  }
}
const notHttp = () => new ApiError('invalid_request', 'This is not a request of HTTP/1.1.')
function rawAnswer(error: ApiError): string {
  const code: ErrorCode = error.code
  const body = JSON.stringify(errorEnvelope(problemOf(error)))
  const head = [
    `HTTP/1.1 ${statuses[code]} ${STATUS_CODES[statuses[code]]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestIdOf({})}`,
    'connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}

async function drain(server: Server, limitMs: number): Promise<void> {
  if (!server.listening) return
  const over = new AbortController()
  const closed = new Promise<void>((resolve) => {
    server.close(() => {
      over.abort()
      resolve()
    })
  })
  const end = performance.now() + limitMs
  // Connections become idle one by one, as their requests are answered.
  while (!over.signal.aborted && performance.now() < end) {
    server.closeIdleConnections()
    await pause(Math.min(50, Math.max(0, end - performance.now())), over.signal)
  }
  server.closeAllConnections()
  await closed
}
