import type { NewEvent } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'

// This module encodes and decodes the two messages that carry nearly all events: the request of BatchAppend, and the response of Read. The
// library's classes for them cost several times as much, because they convert each event to base64 and back and copy each field.

/** An event in the bytes of an append. */
export interface EncodedEvent {
  /** A `proposed_messages` field of BatchAppendReq. */
  readonly bytes: Buffer
  /** The parts of `bytes` with the JSON of the data and of the metadata. */
  readonly data: Buffer
  readonly metadata: Buffer
}
/** A recorded event as Read returns it. */
export interface WireEvent {
  readonly id: EventId
  readonly stream: string
  readonly revision: number
  readonly commit: bigint
  readonly type: string
  readonly contentType: string
  readonly data: Buffer
  readonly metadata: Buffer
}
/** A response of Read. `other` stands for a response that Kolbak does not use. */
export type ReadResponse =
  | { readonly kind: 'event'; readonly event: WireEvent }
  | { readonly kind: 'checkpoint'; readonly commit: bigint }
  | { readonly kind: 'confirmation' | 'other' }

/** The first byte of a field that has a length. */
const tag = (field: number): number => (field << 3) | 2
const varintLength = (value: number): number => {
  let length = 1
  for (let remaining = value; remaining > 0x7f; remaining = Math.floor(remaining / 128)) length++
  return length
}
const fieldLength = (bytes: number): number => 1 + varintLength(bytes) + bytes

/** Writes fields from the front. */
class Writer {
  readonly bytes: Buffer
  #at = 0
  constructor(length: number) {
    this.bytes = Buffer.allocUnsafe(length)
  }
  /** Begins a field of this length. Its content follows. */
  begin(field: number, length: number): void {
    this.bytes[this.#at++] = tag(field)
    let remaining = length
    for (; remaining > 0x7f; remaining >>>= 7) this.bytes[this.#at++] = (remaining & 0x7f) | 0x80
    this.bytes[this.#at++] = remaining
  }
  /** Writes a text of this length in bytes, and returns its bytes. */
  text(field: number, text: string, length: number): Buffer {
    this.begin(field, length)
    const start = this.#at
    this.#at += this.bytes.write(text, start, length === text.length ? 'latin1' : 'utf8')
    return this.bytes.subarray(start, this.#at)
  }
}

const typeKey = 'type'
const contentTypeKey = 'content-type'
const json = 'application/json'
const uuidLength = 36

/** Encodes an event. The server checks that the id is a UUID. */
export function encodeEvent({ id, type, data, metadata }: NewEvent): EncodedEvent {
  const [dataText, metadataText] = [JSON.stringify(data), JSON.stringify(metadata)]
  const [dataLength, metadataLength, typeLength] = [dataText, metadataText, type].map((text) => Buffer.byteLength(text)) as [
    number,
    number,
    number,
  ]
  const typeEntry = fieldLength(typeKey.length) + fieldLength(typeLength)
  const contentTypeEntry = fieldLength(contentTypeKey.length) + fieldLength(json.length)
  const length =
    fieldLength(fieldLength(uuidLength)) +
    fieldLength(typeEntry) +
    fieldLength(contentTypeEntry) +
    fieldLength(metadataLength) +
    fieldLength(dataLength)
  const writer = new Writer(fieldLength(length))
  writer.begin(3, length)
  writer.begin(1, fieldLength(uuidLength))
  writer.text(2, id, uuidLength)
  writer.begin(2, typeEntry)
  writer.text(1, typeKey, typeKey.length)
  writer.text(2, type, typeLength)
  writer.begin(2, contentTypeEntry)
  writer.text(1, contentTypeKey, contentTypeKey.length)
  writer.text(2, json, json.length)
  const metadataBytes = writer.text(3, metadataText, metadataLength)
  return { bytes: writer.bytes, data: writer.text(4, dataText, dataLength), metadata: metadataBytes }
}

/** Encodes a BatchAppendReq with all events of one append that expects `any`. @param seconds the time that the server may take */
export function encodeAppendRequest(correlationId: string, stream: string, events: readonly EncodedEvent[], seconds: number): Buffer {
  const streamLength = Buffer.byteLength(stream)
  const identifier = fieldLength(streamLength)
  // `any` is an empty message, and a Duration has its seconds in a varint.
  const options = fieldLength(identifier) + fieldLength(0) + fieldLength(2)
  const head = new Writer(fieldLength(fieldLength(uuidLength)) + fieldLength(options))
  head.begin(1, fieldLength(uuidLength))
  head.text(2, correlationId, uuidLength)
  head.begin(2, options)
  head.begin(1, identifier)
  head.text(3, stream, streamLength)
  head.begin(4, 0)
  head.begin(7, 2)
  head.bytes.set([1 << 3, seconds], head.bytes.length - 2)
  const isFinal = Buffer.from([4 << 3, 1])
  return Buffer.concat([head.bytes, ...events.map(({ bytes }) => bytes), isFinal])
}

/** Reads the fields of a message. */
class Reader {
  readonly #bytes: Buffer
  #at: number
  readonly #end: number
  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
  }
  get isAtEnd(): boolean {
    return this.#at >= this.#end
  }
  /** Returns the number of the next field. Its content must be read or skipped next. */
  field(): { field: number; wireType: number } {
    const key = Number(this.varint())
    return { field: key >>> 3, wireType: key & 7 }
  }
  varint(): bigint {
    let low = 0
    let shift = 0
    for (; shift < 28; shift += 7) {
      const byte = this.#next()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return BigInt(low)
    }
    let value = BigInt(low)
    for (let byte = 0x80; byte >= 0x80; shift += 7) {
      byte = this.#next()
      value |= BigInt(byte & 0x7f) << BigInt(shift)
    }
    return value
  }
  message(): Reader {
    const [start, end] = this.#take()
    return new Reader(this.#bytes, start, end)
  }
  slice(): Buffer {
    return this.#bytes.subarray(...this.#take())
  }
  text(): string {
    return this.#bytes.toString('utf8', ...this.#take())
  }
  skip(wireType: number): void {
    if (wireType === 0) this.varint()
    else if (wireType === 2) this.#take()
    else this.#at += wireType === 1 ? 8 : 4
  }
  #next(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new RangeError('a message of EventStoreDB ends too early')
    return byte
  }
  #take(): [number, number] {
    const length = Number(this.varint())
    const start = this.#at
    this.#at += length
    if (this.#at > this.#end) throw new RangeError('a message of EventStoreDB ends too early')
    return [start, this.#at]
  }
}

/** Decodes a ReadResp. */
export function decodeReadResponse(bytes: Buffer): ReadResponse {
  const reader = new Reader(bytes)
  while (!reader.isAtEnd) {
    const { field, wireType } = reader.field()
    if (field === 1) return eventOf(reader.message())
    if (field === 2) return { kind: 'confirmation' }
    if (field === 3) return { kind: 'checkpoint', commit: commitOf(reader.message()) }
    reader.skip(wireType)
  }
  return { kind: 'other' }
}
function commitOf(position: Reader): bigint {
  let commit = 0n
  while (!position.isAtEnd) {
    const { field, wireType } = position.field()
    if (field === 1) commit = position.varint()
    else position.skip(wireType)
  }
  return commit
}
/** Reads a ReadEvent. It has no event when a link leads to a missing one. */
function eventOf(reader: Reader): ReadResponse {
  while (!reader.isAtEnd) {
    const { field, wireType } = reader.field()
    if (field === 1) return { kind: 'event', event: recordedOf(reader.message()) }
    reader.skip(wireType)
  }
  return { kind: 'other' }
}
function recordedOf(reader: Reader): WireEvent {
  let [id, stream, type, contentType] = ['', '', '', '']
  let [revision, commit] = [0n, 0n]
  let [data, metadata] = [noBytes, noBytes]
  while (!reader.isAtEnd) {
    const { field, wireType } = reader.field()
    if (field === 1) id = lastTextOf(reader.message(), 2)
    else if (field === 2) stream = lastTextOf(reader.message(), 3)
    else if (field === 3) revision = reader.varint()
    else if (field === 5) commit = reader.varint()
    else if (field === 6) {
      const [key, value] = entryOf(reader.message())
      if (key === typeKey) type = value
      else if (key === contentTypeKey) contentType = value
    } else if (field === 7) metadata = reader.slice()
    else if (field === 8) data = reader.slice()
    else reader.skip(wireType)
  }
  return { id: id as EventId, stream, revision: Number(revision), commit, type, contentType, data, metadata }
}
const noBytes: Buffer = Buffer.alloc(0)
function lastTextOf(reader: Reader, wanted: number): string {
  let text = ''
  while (!reader.isAtEnd) {
    const { field, wireType } = reader.field()
    if (field === wanted) text = reader.text()
    else reader.skip(wireType)
  }
  return text
}
function entryOf(reader: Reader): [key: string, value: string] {
  const entry: [string, string] = ['', '']
  while (!reader.isAtEnd) {
    const { field, wireType } = reader.field()
    if (field === 1) entry[0] = reader.text()
    else if (field === 2) entry[1] = reader.text()
    else reader.skip(wireType)
  }
  return entry
}
