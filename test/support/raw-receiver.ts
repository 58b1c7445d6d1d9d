import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'

/** A whole request as its receiver saw it. */
export interface RawRequest {
  /** The bytes in Latin-1. */
  readonly text: string
  readonly path: string
  readonly socket: Socket
  /** The number of the connection, and the number of the request on that connection. Both count from 0. */
  readonly connection: number
  readonly index: number
}
export interface RawReceiver {
  readonly port: number
  readonly origin: string
  readonly requests: readonly RawRequest[]
  /** The number of accepted connections. */
  readonly connections: number
  close(): Promise<void>
}
/** The reaction to a request: a function, or bytes to send (a text is sent in Latin-1). After the bytes the connection stays open. */
export type RawReaction = string | Buffer | ((request: RawRequest) => void)

/** Returns a reaction that sends the bytes (a text in Latin-1) and then a FIN. */
export const thenFin =
  (bytes: string): RawReaction =>
  ({ socket }) =>
    socket.end(Buffer.from(bytes, 'latin1'))
/** Returns a reaction that sends the bytes one by one. */
export const byteByByte =
  (bytes: string): RawReaction =>
  ({ socket }) => {
    let at = 0
    const next = () => {
      if (at === bytes.length || socket.destroyed) return
      socket.write(Buffer.from(bytes[at++]!, 'latin1'), () => setImmediate(next))
    }
    next()
  }

/** Starts a receiver that sends exactly the bytes that `reactionTo` returns. */
export async function startRawReceiver(
  reactionTo: (request: RawRequest) => RawReaction,
  options: { host?: string; port?: number; tls?: TlsOptions; onConnection?: (socket: Socket) => void } = {},
): Promise<RawReceiver> {
  const requests: RawRequest[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const onConnection = (socket: Socket) => {
    const connection = connections++
    let index = 0
    let text = ''
    socket.setNoDelay(true)
    options.onConnection?.(socket)
    socket.on('data', (bytes: Buffer) => {
      if (socket.writableEnded) return // after closing its own side, the server ignores further bytes
      text += bytes.toString('latin1')
      const headLength = text.indexOf('\r\n\r\n') + 4
      const bodyLength = Number(/^content-length: (\d+)/im.exec(text)?.[1])
      if (headLength < 4 || text.length < headLength + bodyLength) return
      const request = { text, path: text.split(' ')[1]!, socket, connection, index: index++ }
      text = ''
      requests.push(request)
      const bytesOrAct = reactionTo(request)
      if (typeof bytesOrAct === 'function') bytesOrAct(request)
      else socket.write(typeof bytesOrAct === 'string' ? Buffer.from(bytesOrAct, 'latin1') : bytesOrAct)
    })
  }
  const server = options.tls === undefined ? createTcpServer(onConnection) : createTlsServer(options.tls, onConnection)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('secureConnection', (socket: Socket) => socket.on('error', () => undefined))
  server.on('tlsClientError', () => undefined)
  const host = options.host ?? '127.0.0.1'
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, host, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    origin: `${options.tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
    requests,
    get connections() {
      return connections
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}
