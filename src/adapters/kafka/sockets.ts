import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ISocketFactory } from 'kafkajs'

export interface Sockets {
  readonly factory: ISocketFactory
  /** Breaks the connections to a broker (`host:port`), so that the client makes new ones. */
  breakOff(broker: string): void
}

const keepAliveMs = 60_000

/** Connects as kafkajs does by default: by TCP, or by TLS under the broker's own name. */
const plainOrTls: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  const name = isIP(host) ? {} : { servername: host }
  const socket = ssl ? connectTls({ host, port, ...name, ...ssl }, onConnect) : connect({ host, port }, onConnect)
  socket.setKeepAlive(true, keepAliveMs)
  return socket
}

/**
 * Tracks the connections of one client. kafkajs goes on writing to a connection without answers until the operating system gives it up,
 * which takes a quarter of an hour when the other side has vanished.
 */
export function createTrackedSockets(make: ISocketFactory = plainOrTls): Sockets {
  const open = new Map<Socket, string>()
  return {
    factory(args) {
      const socket = make(args)
      open.set(socket, `${args.host}:${args.port}`)
      socket.once('close', () => open.delete(socket))
      return socket
    },
    breakOff(broker) {
      for (const [socket, to] of open) if (to === broker) socket.destroy(new Error('nothing came back in time'))
    },
  }
}
