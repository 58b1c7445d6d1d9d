import type { Socket } from 'node:net'
import { type Failure, failureOf } from './failure.ts'

/** The request that a connection carries. */
export interface ConnectionUser {
  /** @param bytes may be kept */
  onData(bytes: Buffer): void
  /** The connection is lost. */
  onLost(failure: Failure): void
}

const closed = { reason: 'connection_reset', detail: 'The receiver closed the connection before it sent a status.' } as const
const reset = { reason: 'connection_reset', detail: 'The receiver reset the connection before it sent a status.' } as const

/** A kept-alive connection, which carries one request at a time. */
export class Connection {
  /** When it was opened, and until when it may wait for its next request (ms of `performance.now`). */
  readonly openedAt = performance.now()
  idleUntil = 0
  private readonly socket: Socket
  private requests = 0
  private user: ConnectionUser | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.setKeepAlive(true, 60_000)
    socket.on('data', (bytes: Buffer) => {
      if (this.user !== null) this.user.onData(bytes)
      else this.destroy() // no request asked for these bytes, such as a 408 before an idle connection is closed
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
  /** Whether the other side may have closed it while it was idle. */
  get isReused(): boolean {
    return this.requests > 1
  }
  send(request: Buffer, user: ConnectionUser): void {
    this.user = user
    this.requests++
    this.socket.write(request)
  }
  /** The response of the request is complete. */
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
