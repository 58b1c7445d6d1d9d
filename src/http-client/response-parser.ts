import { describeNoStatus } from './no-status.ts'

/** Receives the body and the end of a response from the parser. */
export interface ResponseSink {
  /** Called with each part of the body. The memory of the part is used again after the call. */
  onBody(part: Buffer): void
  /** Called when the response is complete, or cannot be read any further. */
  onEnd(): void
}

/** The header fields that are kept. List fields that occur twice are joined with a comma (RFC 9110, 5.3). For other fields, the first one counts. */
const listFields = new Set(['connection', 'content-encoding', 'content-length', 'keep-alive', 'transfer-encoding'])
const singleFields = new Set([
  ...['content-type', 'retry-after', 'date', 'server', 'location', 'www-authenticate', 'x-request-id', 'cf-ray', 'traceparent'],
])
/** The most bytes of all lines of a response. These are the heads (including informational responses) and the lines between chunks of the body. */
const maxLineBytes = 64 * 1024

const lf = 10
type State = 'status' | 'fields' | 'length' | 'until_close' | 'chunk_size' | 'chunk' | 'chunk_end' | 'trailers' | 'done'

/**
 * Parses one response of HTTP/1.x and the informational responses before it. It is as liberal as browsers and curl: a fault after the status line
 * never hides the status. It accepts folded fields (RFC 9112, 5.2), a bare LF as line end (2.2), repeated equal Content-Length fields (6.3), and
 * lines that are no fields.
 */
export class ResponseParser {
  /** The final status, or null as long as its line has not been read. */
  code: number | null = null
  /** A sentence that says why no status can be read, or null. It quotes no bytes of the response. */
  problem: string | null = null
  hasBytes = false
  /** Whether the next request can use the connection. This is known when the response has ended. */
  isReusable = false
  private readonly sink: ResponseSink
  private readonly fields = new Map<string, string>()
  private state: State = 'status'
  private isStopped = false
  private isHttp11 = false
  /** The last field, if it is kept. A folded line would continue it. */
  private lastField: string | undefined
  private lineBytes = 0
  /** The number of bytes that are missing of the body or of the chunk. */
  private remaining = 0
  /** The parts of a line whose end has not arrived. */
  private lineParts: string[] = []

  constructor(sink: ResponseSink) {
    this.sink = sink
  }

  field(name: string): string | undefined {
    return this.fields.get(name)
  }

  feed(bytes: Buffer): void {
    this.hasBytes = true
    let at = 0
    while (at < bytes.length && this.state !== 'done') at = this.step(bytes, at)
    if (this.state !== 'done' || this.isStopped) return
    if (at < bytes.length) this.isReusable = false // no request asked for further bytes
    this.stop()
    this.sink.onEnd()
  }

  /** Makes the parser ignore all further bytes. */
  stop(): void {
    this.isStopped = true
    this.state = 'done'
  }

  /** Called when no more bytes will come. A status that can be read counts, even if the rest of its line is missing. */
  close(): void {
    if (this.isStopped) return
    this.cut(null)
    this.stop()
  }

  /** Reads a line or a part of the body. Returns the index of the first byte that was not read. */
  private step(bytes: Buffer, at: number): number {
    switch (this.state) {
      case 'length':
      case 'chunk':
      case 'until_close':
        return this.readBody(bytes, at)
      default: {
        const end = bytes.indexOf(lf, at)
        const next = end === -1 ? bytes.length : end + 1
        this.lineBytes += next - at
        if (end === -1) this.keepPart(bytes.toString('latin1', at))
        else this.readLine(this.wholeLine(bytes, at, end))
        if (this.lineBytes > maxLineBytes) this.cut('The head of the response is larger than 64 KiB.')
        return next
      }
    }
  }

  /** Ends a response that is too long or was cut off. @param problem the sentence to use if no status can be read */
  private cut(problem: string | null): void {
    if (this.state === 'done') return
    const beginning = this.lineParts.join('')
    if (this.state === 'status' && beginning !== '') this.readStatus(beginning)
    if (this.code === null) this.problem ??= problem
    this.end(false)
  }

  private keepPart(part: string): void {
    this.lineParts.push(part)
    if (this.state !== 'status' || this.lineParts.length > 16) return
    // A server of another protocol may never send the end of a line, so the first bytes are checked.
    const beginning = this.lineParts.join('').trimStart()
    if (beginning.length >= 5 && !/^HTTP\//i.test(beginning)) this.malformed(describeNoStatus(beginning))
  }

  private wholeLine(bytes: Buffer, at: number, lineEnd: number): string {
    const end = lineEnd > at && bytes[lineEnd - 1] === 13 ? lineEnd - 1 : lineEnd
    const last = bytes.toString('latin1', at, end)
    if (this.lineParts.length === 0) return last
    const line = this.lineParts.join('') + last
    this.lineParts = []
    return line.endsWith('\r') ? line.slice(0, -1) : line
  }

  private readLine(line: string): void {
    switch (this.state) {
      case 'status':
        if (line !== '') this.readStatus(line)
        break
      case 'fields':
        if (line === '') this.endHead()
        else this.readField(line)
        break
      case 'chunk_size':
        this.readChunkSize(line)
        break
      case 'chunk_end':
        if (line === '') this.state = 'chunk_size'
        else this.end(false)
        break
      case 'trailers':
        if (line === '') this.end(this.mayReuse())
        break
    }
  }

  private readStatus(line: string): void {
    const match = /^\s*HTTP\/(\d+)(?:\.(\d+))? +(\d{3})(?!\d)/i.exec(line)
    const code = Number(match?.[3])
    if (match === null || code < 100) {
      this.malformed(describeNoStatus(line))
      return
    }
    this.isHttp11 = match[1] !== '0' && !(match[1] === '1' && match[2] === '0')
    // A client must accept informational responses that it did not ask for (RFC 9110, 15.2). 101 ends HTTP on the connection.
    if (code >= 200 || code === 101) this.code = code
    this.state = 'fields'
  }

  private readField(line: string): void {
    if (line.startsWith(' ') || line.startsWith('\t')) {
      if (this.lastField !== undefined) this.fields.set(this.lastField, `${this.fields.get(this.lastField)} ${line.trim()}`.trim())
      return
    }
    const colon = line.indexOf(':')
    const name = colon === -1 ? '' : line.slice(0, colon).trimEnd().toLowerCase()
    const existing = this.fields.get(name)
    const isKept = listFields.has(name) || (singleFields.has(name) && existing === undefined)
    this.lastField = isKept ? name : undefined
    if (!isKept) return
    const value = line.slice(colon + 1).trim()
    this.fields.set(name, existing === undefined ? value : `${existing}, ${value}`)
  }

  /** Ends the head, and determines the length of the body (RFC 9112, 6.3). */
  private endHead(): void {
    const { code } = this
    this.lastField = undefined
    if (code === null) {
      this.fields.clear()
      this.state = 'status'
      return
    }
    const coding = this.fields.get('transfer-encoding')?.toLowerCase()
    const length = contentLength(this.fields.get('content-length'))
    if (code === 101 || code === 204 || code === 304) this.end(code !== 101 && this.mayReuse())
    else if (coding !== undefined && coding !== 'identity') this.state = /(?:^|[,\s])chunked$/.test(coding) ? 'chunk_size' : 'until_close'
    else if (length === 0) this.end(this.mayReuse())
    else if (length !== undefined) {
      this.remaining = length
      this.state = 'length'
    } else this.state = 'until_close'
  }

  private mayReuse(): boolean {
    const options = this.fields.get('connection')?.toLowerCase() ?? ''
    if (/(?:^|[,\s])close(?:$|[,\s])/.test(options)) return false
    // A response with both fields may be an attempt to smuggle a second response.
    if (this.fields.has('transfer-encoding') && this.fields.has('content-length')) return false
    return this.isHttp11 || /(?:^|[,\s])keep-alive(?:$|[,\s])/.test(options)
  }

  private readBody(bytes: Buffer, at: number): number {
    const length = bytes.length - at
    const bodyLength = this.state === 'until_close' || this.remaining > length ? length : this.remaining
    const next = at + bodyLength
    const isLast = this.state !== 'until_close' && bodyLength === this.remaining
    this.remaining -= bodyLength
    this.sink.onBody(at === 0 && bodyLength === bytes.length ? bytes : bytes.subarray(at, next))
    if (!isLast || this.isStopped) return next
    if (this.state === 'chunk') this.state = 'chunk_end'
    else this.end(this.mayReuse())
    return next
  }

  private readChunkSize(line: string): void {
    const digits = /^\s*([0-9a-f]{1,8})\s*(?:;.*)?$/i.exec(line)?.[1]
    if (digits === undefined) {
      this.end(false)
      return
    }
    this.remaining = Number.parseInt(digits, 16)
    this.state = this.remaining === 0 ? 'trailers' : 'chunk'
  }

  private end(isReusable: boolean): void {
    this.isReusable = isReusable
    this.state = 'done'
  }
  private malformed(problem: string): void {
    this.problem = problem
    this.state = 'done'
  }
}

/** Returns the length in a Content-Length field, or undefined if the field is absent, invalid or names different lengths. */
function contentLength(field: string | undefined): number | undefined {
  if (field === undefined) return undefined
  if (/^\d{1,15}$/.test(field)) return Number(field)
  const [first, ...others] = field.split(',').map((value) => value.trim())
  return first !== undefined && /^\d{1,15}$/.test(first) && others.every((value) => value === first) ? Number(first) : undefined
}
