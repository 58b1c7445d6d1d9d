import type { Socket } from 'node:net'
import type { ConnectTimings, OpenedSocket } from './connect.ts'
import { type Failure, failureOf } from './failure.ts'

/** The request that a connection carries. */
export interface ConnectionUser {
  /** Called with each part that arrives. @param bytes their memory is not used again */
  onData(bytes: Buffer): void
  /** Called when the connection is lost. */
  onLost(failure: Failure): void
}

const closed = { reason: 'connection_reset', detail: 'The receiver closed the connection before it sent a status.' } as const
const reset = { reason: 'connection_reset', detail: 'The receiver reset the connection before it sent a status.' } as const

/** A kept-alive connection, which carries one request at a time. */
export class Connection {
  /** The time when the connection was opened, and the time until which it may be idle (both by `performance.now`). */
  readonly openedAt = performance.now()
  idleUntil = 0
  /** The address of the receiver. A socket that was closed has none any more, so it is read at the start. */
  readonly address: string | null
  readonly timings: ConnectTimings
  private readonly socket: Socket
  private requests = 0
  private user: ConnectionUser | null = null

  constructor({ socket, timings }: OpenedSocket) {
    this.socket = socket
    this.timings = timings
    this.address = socket.remoteAddress ?? null
    socket.setKeepAlive(true, 60_000)
    socket.on('data', (bytes: Buffer) => {
      if (this.user !== null) this.user.onData(bytes)
      else this.destroy() // no request is open: for example, a server sends 408 before it closes an idle connection
    })
    socket.on('error', (error) => {
      const failure = failureOf(error)
      this.lose(failure.reason === 'connection_reset' ? reset : failure)
    })
    socket.on('end', () => this.lose(closed))
    socket.on('close', () => this.lose(closed))
  }

  get isOpen(): boolean {
    return !this.socket.destroyed
  }
  /** Returns whether the connection has been idle before, so that the receiver may have closed it. */
  get isReused(): boolean {
    return this.requests > 1
  }
  send(request: Buffer, user: ConnectionUser): void {
    this.user = user
    this.requests++
    this.socket.write(request)
  }
  /** Called when the response is complete. The connection is then idle. */
  release(): void {
    this.user = null
  }
  destroy(): void {
    this.user = null
    this.socket.destroy()
  }
  private lose(failure: Failure): void {
    const { user } = this
    this.destroy()
    user?.onLost(failure)
  }
}
