import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A proxy on 127.0.0.1 that can cause faults in its connections. */
export interface TcpProxy {
  readonly port: number
  /** Cuts all connections. */
  cut(): void
  /** Cuts all connections and refuses new ones, as if the server were killed, until `allow`. */
  refuse(): void
  /** Accepts connections but forwards no byte, as if the server were frozen, until `allow`. */
  stall(): void
  allow(): void
  /** Delays every byte that the server sends by this many milliseconds. */
  delay(ms: number): void
  close(): Promise<void>
}

/** @param target returns the address of the server for each new connection */
export async function startTcpProxy(target: () => Promise<{ host: string; port: number }>): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let mode: 'allow' | 'refuse' | 'stall' = 'allow'
  let delayMs = 0
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {}) // 'close' follows, and ends the other side
    socket.once('close', () => sockets.delete(socket))
  }
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const server = createServer({ noDelay: true, pauseOnConnect: true }, async (client) => {
    keep(client)
    if (mode === 'refuse') return client.destroy()
    const address = await target().catch(() => null) // there is no leader now
    if (address === null || client.destroyed) return client.destroy()
    const upstream = connect({ ...address, noDelay: true })
    keep(upstream)
    client.once('close', () => upstream.destroy())
    upstream.once('close', () => client.destroy())
    const pass = (from: Socket, to: Socket, delay: () => number) =>
      from.on('data', (bytes) => {
        if (delay() === 0) to.write(bytes)
        else setTimeout(() => to.write(bytes), delay())
      })
    pass(client, upstream, () => 0)
    pass(upstream, client, () => delayMs)
    if (mode === 'stall') upstream.pause()
    else client.resume()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    refuse() {
      mode = 'refuse'
      cut()
    },
    stall() {
      mode = 'stall'
      for (const socket of sockets) socket.pause()
    },
    allow() {
      mode = 'allow'
      for (const socket of sockets) socket.resume()
    },
    delay(ms) {
      delayMs = ms
    },
    async close() {
      cut()
      await new Promise((closed) => server.close(closed))
    },
  }
}
