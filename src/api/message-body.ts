import type { Message } from '../events/message-record.ts'
import { memberRange } from './json-byte-ranges.ts'

type Content = Pick<Message, 'id' | 'event' | 'event_time' | 'source'>

/**
 * Returns the body that receivers get. It is sealed, archived, and sent unchanged by every attempt. It contains the bytes of the
 * payload exactly as the producer sent them.
 */
export function messageBody({ id, event, event_time, source }: Content, payload: Buffer): Buffer {
  const head = `${JSON.stringify({ id, event, event_time, source }).slice(0, -1)},"payload":`
  return Buffer.concat([Buffer.from(head), payload, closing])
}
const closing = Buffer.from('}')

/** Reads the parts of a body that `messageBody` made. The payload is returned as JSON text. */
export function readMessageBody(body: Buffer): { event_time: string | null; source: string | null; payload: string } {
  const range = memberRange(body, 'payload')
  const parsed: { event_time?: unknown; source?: unknown } = JSON.parse(body.toString())
  if (range === null) throw new Error('the body of a stored message has no payload')
  const text = (value: unknown) => (typeof value === 'string' ? value : null)
  return { event_time: text(parsed.event_time), source: text(parsed.source), payload: body.toString('utf8', range.start, range.end) }
}

/**
 * Returns the parts whose HMAC is the fingerprint of a message. The length of the head comes first, so that different contents never give the same
 * bytes.
 */
export function fingerprintParts({ event, event_time, source }: Omit<Content, 'id'>, payload: Buffer): (string | Buffer)[] {
  // JSON escapes lone surrogates. In UTF-8, all of them would become the same character.
  const head = JSON.stringify([event, source, event_time])
  return [`${head.length}:`, head, payload]
}
