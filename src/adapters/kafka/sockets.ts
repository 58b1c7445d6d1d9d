import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ISocketFactory } from 'kafkajs'

export interface Sockets {
  readonly factory: ISocketFactory
  /** Breaks the connections to a broker (`host:port`), so that the client opens new ones. */
  breakOff(broker: string): void
}

const keepAliveMs = 60_000

/** Connects as kafkajs does by default: by TCP, or by TLS with the name of the broker. */
const plainOrTls: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  const name = isIP(host) ? {} : { servername: host }
  const socket = ssl ? connectTls({ host, port, ...name, ...ssl }, onConnect) : connect({ host, port }, onConnect)
  socket.setKeepAlive(true, keepAliveMs)
  return socket
}

/**
 * Tracks the connections of one client. When a broker vanishes, kafkajs writes to its connection until the operating system closes the
 * connection, which takes a quarter of an hour.
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
      for (const [socket, to] of open) if (to === broker) socket.destroy(new Error('the broker did not respond in time'))
    },
  }
}
