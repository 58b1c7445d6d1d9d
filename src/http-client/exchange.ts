import type { ConnectTimings, Endpoint } from './connect.ts'
import type { Connection, ConnectionUser } from './connection.ts'
import type { Connections } from './connections.ts'
import { type Failure, failureOf } from './failure.ts'
import { ResponseParser, type ResponseSink } from './response-parser.ts'

/** The milliseconds that each step of a request on a new connection took. */
export interface RequestTimings extends ConnectTimings {
  /** The time from the request to the first byte of the response, or null if none came. */
  readonly first_byte_ms: number | null
}
/** The result of one request. A failure is data, not an exception. */
export interface ExchangeResult {
  /**
   * The HTTP status, or null when none could be read. Only the status line decides the outcome, because the client or the network may cut the rest.
   */
  readonly code: number | null
  readonly duration_ms: number
  /** The address to which the request was sent, or null if no connection was made. */
  readonly address: string | null
  /** The reason why there is no status, or null if there is one. */
  readonly failure: Failure | null
  /** The first 4 KiB of the body as it was sent, or the first 64 KiB of a compressed body. */
  readonly body: Buffer
  readonly retryAfter: string | undefined
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
  /** The fields of the response that are worth keeping (`keptFields`), or null if it has none of them. */
  readonly fields: Readonly<Record<string, string>> | null
  /** Null if the request was sent on a connection that had been used before, or on none. */
  readonly timings: RequestTimings | null
}

/** The fields of a response that help to find out what a receiver did. */
const keptFields = [
  ...['content-type', 'date', 'server', 'retry-after', 'location', 'www-authenticate'],
  ...['x-request-id', 'cf-ray', 'traceparent'],
]

/** A response is cut after `maxReadBytes` of its body. Its first `maxKeptBytes` are kept: as many as `keptResponseBytes` in `events/delivery.ts` says. */
const maxReadBytes = 64 * 1024
const maxKeptBytes = 4 * 1024
/** The most milliseconds for the rest of a response after its status. This time is short, because a body that never ends must not occupy a slot. */
const bodyMs = 1_000

const noBytes = Buffer.alloc(0)

/** One request and its response. The exchange ends when the response has ended or was cut, or when the time is up. */
export class Exchange implements ConnectionUser, ResponseSink {
  private readonly connections: Connections
  private readonly endpoint: Endpoint
  private readonly request: Buffer
  private readonly timeoutMs: number
  private readonly startedAt = performance.now()
  private readonly timer: NodeJS.Timeout
  private bodyTimer: NodeJS.Timeout | undefined
  private resolve: (result: ExchangeResult) => void = () => {}
  private connection: Connection | null = null
  private parser: ResponseParser = new ResponseParser(this)
  private isRepeated = false
  private isOver = false
  private sentAt = 0
  private firstByteAt: number | null = null
  private bytesRead = 0
  private bytesKept = 0
  private chunks: Buffer[] = []

  constructor(connections: Connections, endpoint: Endpoint, request: Buffer, timeoutMs: number) {
    this.connections = connections
    this.endpoint = endpoint
    this.request = request
    this.timeoutMs = timeoutMs
    this.timer = setTimeout(() => this.onTimeout(), timeoutMs)
  }

  run(): Promise<ExchangeResult> {
    return new Promise((resolve) => {
      this.resolve = resolve
      const idle = this.connections.takeIdle(this.endpoint)
      if (idle === undefined) void this.sendOnFresh()
      else this.sendOn(idle)
    })
  }

  onData(bytes: Buffer): void {
    this.firstByteAt ??= performance.now()
    this.parser.feed(bytes)
    if (!this.isOver && this.parser.code !== null) this.bodyTimer ??= setTimeout(() => this.finish(null), bodyMs)
  }
  onBody(part: Buffer): void {
    // More of a compressed body is kept, because some formats can be decompressed only in large blocks.
    const limit = this.parser.field('content-encoding') === undefined ? maxKeptBytes : maxReadBytes
    if (this.bytesKept < limit) {
      const keptPart = part.subarray(0, limit - this.bytesKept)
      this.chunks.push(keptPart)
      this.bytesKept += keptPart.length
    }
    this.bytesRead += part.length
    if (this.bytesRead > maxReadBytes) this.finish(null)
  }
  onEnd(): void {
    const { problem } = this.parser
    this.finish(problem === null ? null : { reason: 'invalid_response', detail: problem })
  }
  onLost(failure: Failure): void {
    const { connection, parser } = this
    if (connection?.isReused && !parser.hasBytes && this.repeat()) return
    parser.close()
    this.finish(parser.problem === null ? failure : { reason: 'invalid_response', detail: parser.problem })
  }

  private onTimeout(): void {
    const unfinishedStep = this.connection === null ? 'The connection was not open' : 'The receiver sent no status'
    this.parser.close() // a status line that has come in part may be readable
    this.finish({ reason: 'timeout', detail: `${unfinishedStep} within ${this.timeoutMs / 1_000} s.` })
  }

  private async sendOnFresh(): Promise<void> {
    try {
      const connection = await this.connections.open(this.endpoint)
      if (this.isOver) this.connections.keep(this.endpoint, connection, undefined)
      else this.sendOn(connection)
    } catch (error) {
      this.finish(failureOf(error))
    }
  }
  private sendOn(connection: Connection): void {
    this.connection = connection
    this.sentAt = performance.now()
    connection.send(this.request, this)
  }
  /**
   * Sends the request once more on a new connection, after the receiver has closed the reused one without seeing the request (RFC 9112, 9.3.1).
   * Returns false if the request has been repeated before.
   */
  private repeat(): boolean {
    if (this.isRepeated) return false
    this.isRepeated = true
    this.connection = null
    this.parser = new ResponseParser(this)
    this.chunks = []
    this.firstByteAt = null
    this.bytesRead = 0
    this.bytesKept = 0
    clearTimeout(this.bodyTimer)
    this.bodyTimer = undefined
    void this.sendOnFresh()
    return true
  }

  /** Ends the exchange with its result. @param failure is used only if no status has come */
  private finish(failure: Failure | null): void {
    if (this.isOver) return
    const { connection, parser } = this
    const { code } = parser
    parser.stop()
    if (connection !== null) {
      if (parser.isReusable) this.connections.keep(this.endpoint, connection, parser.field('keep-alive'))
      else connection.destroy()
      // A receiver may send a 408 before it closes an idle connection (RFC 9110, 15.5.9). Such a 408 is not a response to this request.
      if (code === 408 && connection.isReused && this.repeat()) return
    }
    this.isOver = true
    clearTimeout(this.timer)
    clearTimeout(this.bodyTimer)
    this.resolve({
      code,
      duration_ms: Math.round(performance.now() - this.startedAt),
      address: connection?.address ?? null,
      failure: code === null ? failure : null,
      body: this.chunks.length === 0 ? noBytes : Buffer.concat(this.chunks),
      retryAfter: parser.field('retry-after'),
      contentType: parser.field('content-type'),
      contentEncoding: parser.field('content-encoding'),
      fields: this.fieldsToKeep(),
      timings: this.timingsOf(connection),
    })
  }
  private fieldsToKeep(): Record<string, string> | null {
    let fields: Record<string, string> | null = null
    for (const name of keptFields) {
      const value = this.parser.field(name)
      if (value === undefined) continue
      fields ??= {}
      fields[name] = value
    }
    return fields
  }
  private timingsOf(connection: Connection | null): RequestTimings | null {
    if (connection === null || connection.isReused) return null
    const { firstByteAt } = this
    return { ...connection.timings, first_byte_ms: firstByteAt === null ? null : Math.round(firstByteAt - this.sentAt) }
  }
}
