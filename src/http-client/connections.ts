import type { Connect, Endpoint } from './connect.ts'
import { Connection } from './connection.ts'

/** Milliseconds for which an idle connection is kept: `idleMs` if the receiver announces no time, and `maxIdleMs` at most. */
const idleMs = 4_000
const maxIdleMs = 60_000
/** A connection is given up this many milliseconds before the announced time, because the receiver could otherwise close it while a request is sent. */
const idleMarginMs = 1_000
/** A connection is replaced after this many milliseconds, because its name may resolve to another address by then. */
const maxAgeMs = 5 * 60_000

export interface Connections {
  /** Returns the idle connection to the endpoint that was used last, if there is one. */
  takeIdle(endpoint: Endpoint): Connection | undefined
  /** Opens a new connection. Throws RequestFailed. */
  open(endpoint: Endpoint): Promise<Connection>
  /**
   * Keeps a connection idle for the next request, or closes it if it cannot be used again. @param keepAlive the header Keep-Alive of its last
   * response
   */
  keep(endpoint: Endpoint, connection: Connection, keepAlive: string | undefined): void
  /** Closes the idle connections, and from then on every connection that becomes idle. */
  close(): void
}

/** Keeps idle connections for the next request to the same origin. */
export function createConnections(connect: Connect, options: { readonly maxIdle: number }): Connections {
  /** The idle connections by origin. */
  const idle = new Map<string, Connection[]>()
  let idleCount = 0
  let isClosed = false

  /** Closes connections that have been idle for too long. */
  const sweep = () => {
    const now = performance.now()
    for (const [origin, connections] of idle) {
      const keptConnections = connections.filter((connection) => {
        const isKept = connection.isOpen && connection.idleUntil > now
        if (!isKept) connection.destroy()
        return isKept
      })
      idleCount -= connections.length - keptConnections.length
      if (keptConnections.length === 0) idle.delete(origin)
      else idle.set(origin, keptConnections)
    }
    if (idleCount === 0) stopSweeping()
  }
  const stopSweeping = () => {
    if (sweeper !== null) clearInterval(sweeper)
    sweeper = null
  }
  /** Runs while connections are idle. */
  let sweeper: NodeJS.Timeout | null = null

  const closeOldest = () => {
    const [origin, connections] = idle.entries().next().value!
    connections.shift()!.destroy()
    idleCount--
    if (connections.length === 0) idle.delete(origin)
  }
  return {
    takeIdle({ origin }) {
      const connections = idle.get(origin)
      if (connections === undefined) return undefined
      const now = performance.now()
      while (connections.length > 0) {
        const connection = connections.pop()!
        idleCount--
        if (connection.isOpen && connection.idleUntil > now) return connection
        connection.destroy()
      }
      return undefined
    },
    async open(endpoint) {
      return new Connection(await connect(endpoint))
    },
    keep({ origin }, connection, keepAlive) {
      const now = performance.now()
      const seconds = /(?:^|[,;\s])timeout=(\d{1,6})/i.exec(keepAlive ?? '')?.[1]
      const ms = seconds === undefined ? idleMs : Math.min(Number(seconds) * 1_000 - idleMarginMs, maxIdleMs)
      connection.idleUntil = Math.min(now + ms, connection.openedAt + maxAgeMs)
      if (isClosed || !connection.isOpen || connection.idleUntil <= now) {
        connection.destroy()
        return
      }
      connection.release()
      if (idleCount >= options.maxIdle) closeOldest()
      const connections = idle.get(origin)
      if (connections === undefined) idle.set(origin, [connection])
      else connections.push(connection)
      idleCount++
      sweeper ??= setInterval(sweep, 1_000).unref()
    },
    close() {
      isClosed = true
      stopSweeping()
      for (const connections of idle.values()) for (const connection of connections) connection.destroy()
      idle.clear()
    },
  }
}
