import type { Message } from '../events/message-record.ts'
import { memberRange } from './json-byte-ranges.ts'

type Content = Pick<Message, 'id' | 'event' | 'event_time' | 'source'>

/**
 * What receivers get, and what is sealed, archived and sent unchanged by every attempt: the payload's bytes stand in it
 * as the producer sent them.
 */
export function messageBody({ id, event, event_time, source }: Content, payload: Buffer): Buffer {
  const head = `${JSON.stringify({ id, event, event_time, source }).slice(0, -1)},"payload":`
  return Buffer.concat([Buffer.from(head), payload, closing])
}
const closing = Buffer.from('}')

/** The same read back. */
export function readMessageBody(body: Buffer): { event_time: string | null; source: string | null; payload: string } {
  const span = memberRange(body, 'payload')
  const parsed: { event_time?: unknown; source?: unknown } = JSON.parse(body.toString())
  if (span === null) throw new Error('a stored message has no payload')
  const text = (value: unknown) => (typeof value === 'string' ? value : null)
  return { event_time: text(parsed.event_time), source: text(parsed.source), payload: body.toString('utf8', span.start, span.end) }
}

/**
 * The parts whose HMAC is a message's fingerprint: the same content under the same id is a repetition, other content is
 * refused. The head's length stands before it, so that no two contents can run into one.
 */
export function fingerprintParts({ event, event_time, source }: Omit<Content, 'id'>, payload: Buffer): (string | Buffer)[] {
  // As JSON, in which also lone surrogates, which UTF-8 cannot tell apart, are escaped.
  const head = JSON.stringify([event, source, event_time])
  return [`${head.length}:`, head, payload]
}
