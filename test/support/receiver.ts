import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { selfSigned } from './certificates.ts'

/** A request as the receiver saw it. */
export interface Received {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly raw: string
  readonly body: { id: string; event: string; event_time: string | null; source: string | null; payload: Record<string, unknown> }
  /** Whether the official library accepts the signature under a secret of the path. Null when the path has no secret. */
  readonly verified: boolean | null
  readonly at: number
}
/** The behaviour of a path: it responds with a status, or calls a function. */
export type Behaviour = number | ((request: Received, response: ServerResponse, socket: Socket) => void)

export interface Receiver {
  readonly origin: string
  url(path: string): string
  /** Sets how the path responds from now on. The default is 200. */
  setResponse(path: string, behaviour: Behaviour): void
  /** Makes the receiver check the signatures of requests to the path with the official library. */
  verify(path: string, secret: string): void
  received(path?: string): readonly Received[]
  /** Returns the webhook-ids that have arrived at the path, in order. */
  ids(path: string): string[]
  close(): Promise<void>
}

/** Starts a real receiver on 127.0.0.1. @param tls whether it uses TLS, with a certificate that no client trusts */
export async function startReceiver({ tls = false } = {}): Promise<Receiver> {
  const behaviours = new Map<string, Behaviour>()
  const secrets = new Map<string, string[]>()
  const requests: Received[] = []
  const sockets = new Set<Socket>()
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url ?? '/'
      const raw = Buffer.concat(chunks).toString()
      const secretsOfPath = secrets.get(path)
      const received: Received = {
        path,
        headers: request.headers,
        raw,
        body: JSON.parse(raw) as Received['body'],
        verified: secretsOfPath === undefined ? null : secretsOfPath.some((secret) => isSigned(secret, raw, request.headers)),
        at: performance.now(),
      }
      requests.push(received)
      const behaviour = behaviours.get(path) ?? 200
      if (typeof behaviour === 'number') response.writeHead(behaviour).end()
      else behaviour(received, response, request.socket)
    })
  }
  const server = tls ? createHttpsServer(selfSigned(), listener) : createHttpServer(listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  const received = (path?: string) => (path === undefined ? requests : requests.filter((request) => request.path === path))
  return {
    origin,
    url: (path) => origin + path,
    setResponse: (path, behaviour) => behaviours.set(path, behaviour),
    verify: (path, secret) => secrets.set(path, [...(secrets.get(path) ?? []), secret]),
    received,
    ids: (path) => received(path).map(({ headers }) => String(headers['webhook-id'])),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

function isSigned(secret: string, raw: string, headers: IncomingMessage['headers']): boolean {
  try {
    new Webhook(secret).verify(raw, headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}

/** Behaviours of faulty receivers. */
export const failures = {
  /** Never sends a response. */
  hangs: (() => {}) satisfies Behaviour,
  /** Closes the connection after each response. */
  closesAfterwards: ((_request, response) => response.writeHead(200, { connection: 'close' }).end()) satisfies Behaviour,
  resetBeforeResponse: ((_request, _response, socket) => socket.resetAndDestroy()) satisfies Behaviour,
  resetMidBody: ((_request, response, socket) => {
    response.writeHead(200, { 'content-length': '1000' })
    response.write('half', () => socket.resetAndDestroy())
  }) satisfies Behaviour,
  /** Sends one byte of the body each second, without end. */
  drips: ((_request, response) => {
    response.writeHead(200).flushHeaders()
    const timer = setInterval(() => response.write('.'), 1_000)
    response.on('close', () => clearInterval(timer))
  }) satisfies Behaviour,
  /** Sends a body of 64 MB. */
  floods: ((_request, response) => {
    response.writeHead(200)
    const chunk = Buffer.alloc(1 << 20, 'x')
    let megabytesLeft = 64
    const writeMore = () => {
      while (megabytesLeft > 0) {
        megabytesLeft--
        if (!response.write(chunk)) {
          response.once('drain', writeMore)
          return
        }
      }
      response.end()
    }
    writeMore()
  }) satisfies Behaviour,
  brokenText: ((_request, response) =>
    response.writeHead(500).end(Buffer.from([0x6f, 0x6b, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80]))) satisfies Behaviour,
  redirects: ((_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()) satisfies Behaviour,
  notHttp: ((_request, _response, socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n')) satisfies Behaviour,
  retryAfter:
    (value: string, status = 429): Behaviour =>
    (_request, response) =>
      response.writeHead(status, { 'retry-after': value }).end('later'),
}
