import { randomBytes, randomUUID } from 'node:crypto'
import { defaultTenant, type MessageId, type TenantId } from '../../src/events/ids.ts'
import { encodeRecord } from '../../src/events/message-record.ts'

/** Returns the bytes of a valid record. */
export const validRecord = (change: { tenant?: TenantId; id?: string; event?: string } = {}) => {
  const { tenant = defaultTenant, id = `poison_${randomUUID()}`, event = 'poison.record' } = change
  return encodeRecord({
    tenant,
    accepted_at: new Date().toISOString(),
    correlation_id: 'poison',
    messages: [{ id: id as MessageId, event, event_time: null, source: null, fingerprint: 'f'.repeat(64), sealedBody: randomBytes(100) }],
  })
}
interface Head {
  [field: string]: unknown
  messages: unknown[][]
}
const framed = (head: string, rest: Buffer = randomBytes(100)): Buffer => {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(Buffer.byteLength(head))
  return Buffer.concat([size, Buffer.from(head), rest])
}
/** Returns a record whose head is changed by `spoil`. */
const spoilt = (spoil: (head: Head) => unknown): Buffer => {
  const bytes = validRecord()
  const head = JSON.parse(bytes.toString('utf8', 4, 4 + bytes.readUInt32BE(0))) as Head
  return framed(JSON.stringify(spoil(head) ?? head))
}
/** Returns a record with another value at this index of its message. */
export const withMessageValue = (index: number, value: unknown) =>
  spoilt((head) => {
    head.messages[0]![index] = value
  })
/** Returns a record with another value of this field. */
export const withField = (name: string, value: unknown) => spoilt((head) => ({ ...head, [name]: value }))

/** Bytes that cannot be decoded as a record. The key says what is wrong with them. */
export const noRecords: Record<string, Buffer | null> = {
  'no value': null,
  'no bytes': Buffer.alloc(0),
  'three bytes': Buffer.from([0, 0, 1]),
  'NUL bytes': Buffer.alloc(64),
  'a head of NUL bytes': framed('\0\0\0\0'),
  'random bytes': randomBytes(200),
  'a length beyond the end': Buffer.concat([Buffer.from([255, 255, 255, 255]), randomBytes(20)]),
  'broken UTF-8': Buffer.concat([Buffer.from([0, 0, 0, 4]), Buffer.from([0xff, 0xfe, 0xc3, 0x28])]),
  'half a record': validRecord().subarray(0, 90),
  'a record without its last byte': validRecord().subarray(0, -1),
  'JSON that is no object': framed('null'),
  'JSON that is a list': framed('[]'),
  'JSON of 100,000 levels': framed('['.repeat(100_000) + ']'.repeat(100_000)),
  'a newer schema': withField('schema', 2),
  'a schema that is no number': withField('schema', { a: 1 }),
  'no tenant': withField('tenant', undefined),
  'an invalid tenant id': withField('tenant', '../../etc'),
  'an invalid time': withField('accepted_at', 'yesterday'),
  'a time in another format': withField('accepted_at', 'Jan 1 2026'),
  'a time with a year of six digits': withField('accepted_at', '+012026-01-01T00:00:00.000Z'),
  'a correlation id that is no text': withField('correlation_id', { a: 1 }),
  'a time of the year 0, which Postgres cannot store': withField('accepted_at', '0000-01-01T00:00:00.000Z'),
  'a correlation id of a megabyte': withField('correlation_id', 'x'.repeat(1 << 20)),
  'a correlation id that Postgres cannot store': withField('correlation_id', '\0'),
  'an invalid webhook id as the target': withField('target', 'x'),
  'no messages': withField('messages', []),
  'messages that are not arrays': withField('messages', [null, 1]),
  'messages that are not in a list': withField('messages', { length: 1 }),
  'an id that is no text': withMessageValue(0, 7),
  'an id with a line break and a header': withMessageValue(0, 'a\r\nx-evil: 1'),
  'an id with a character that headers forbid': withMessageValue(0, '☃'),
  'no event': withMessageValue(1, null),
  'an event that is a number': withMessageValue(1, 5),
  'an event that Postgres cannot store': withMessageValue(1, 'poison.\0'),
  'an event of a megabyte': withMessageValue(1, 'x'.repeat(1 << 20)),
  'an event time of a megabyte': withMessageValue(2, 'x'.repeat(1 << 20)),
  'a source that is no text': withMessageValue(3, {}),
  'no fingerprint': withMessageValue(4, null),
  'a source of a megabyte': withMessageValue(3, 'x'.repeat(1 << 20)),
  'a fingerprint of a megabyte': withMessageValue(4, 'x'.repeat(1 << 20)),
  'a fingerprint that Postgres cannot store': withMessageValue(4, '\0'),
  'a negative size': withMessageValue(5, -1),
  'a size that is a text': withMessageValue(5, '100'),
  'a size that is no whole number': withMessageValue(5, 99.5),
}
