import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ISocketFactory } from 'kafkajs'

export interface Sockets {
  readonly factory: ISocketFactory
  /** Breaks the connections to a broker (`host:port`), so that new ones are made. */
  breakOff(broker: string): void
}

const keepAliveMs = 60_000

/** kafkajs's default: TCP, or TLS under the broker's own name. */
const plainOrTls: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  const name = isIP(host) ? {} : { servername: host }
  const socket = ssl ? connectTls({ host, port, ...name, ...ssl }, onConnect) : connect({ host, port }, onConnect)
  socket.setKeepAlive(true, keepAliveMs)
  return socket
}

/**
 * Keeps the connections of one client at hand. kafkajs goes on writing into a connection on which nothing comes back, until
 * the operating system gives it up, which takes a quarter of an hour when the other side has vanished.
 */
export function trackedSockets(make: ISocketFactory = plainOrTls): Sockets {
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
