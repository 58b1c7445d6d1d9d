import { isUlid, type MessageId, type Place, type TenantId, type WebhookId } from './ids.ts'
import type { MessageRef, Producer } from './refs.ts'
import { recordSchema } from './schema.ts'

/** One message on the bus. Its body was sealed when the message was accepted, and stays sealed. */
export interface Message {
  readonly id: MessageId
  readonly event: string
  /** The `event_time` that the producer sent, as text, or null. */
  readonly event_time: string | null
  readonly source: string | null
  readonly fingerprint: string
  /** The request body for the receivers, sealed by `sealBody`. */
  readonly sealedBody: Buffer
}

/** One message, or a batch of messages that is accepted or refused as a whole. */
export interface MessageRecord {
  /** The client that posted the messages, and its request. Absent in records of version 0.2. */
  readonly by?: Producer
  readonly tenant: TenantId
  readonly accepted_at: string
  readonly correlation_id: string
  readonly messages: readonly Message[]
  /** The only webhook that gets the messages, for test messages. Without it, all matching webhooks get them. */
  readonly target?: WebhookId
}

type MessageHead = [id: string, event: string, event_time: string | null, source: string | null, fingerprint: string, bodyBytes: number]
interface RecordHead {
  schema: number
  tenant: string
  accepted_at: string
  correlation_id: string
  by?: Producer
  target?: string
  messages: MessageHead[]
}

/** Writes the length of the head (4 bytes), the head as JSON, then the sealed bodies one after another. */
export function encodeRecord(record: MessageRecord): Buffer {
  const head: RecordHead = {
    schema: recordSchema,
    tenant: record.tenant,
    accepted_at: record.accepted_at,
    correlation_id: record.correlation_id,
    ...(record.by === undefined ? {} : { by: record.by }),
    ...(record.target === undefined ? {} : { target: record.target }),
    messages: record.messages.map((m) => [m.id, m.event, m.event_time, m.source, m.fingerprint, m.sealedBody.length]),
  }
  const json = Buffer.from(JSON.stringify(head))
  const size = Buffer.allocUnsafe(4)
  size.writeUInt32BE(json.length)
  return Buffer.concat([size, json, ...record.messages.map((m) => m.sealedBody)])
}

/** The records that this process has encoded itself. Each is found by the buffer that `encodeRecord` returned, and need not be decoded. */
const ownRecords = new WeakMap<Buffer, MessageRecord>()
/** Makes `decodeRecord` return this record for these bytes, which `encodeRecord` must have returned for it. */
export const rememberRecord = (bytes: Buffer, record: MessageRecord): void => void ownRecords.set(bytes, record)

/**
 * Decodes a record. Throws when the bytes are not a record of a known schema, and the consumer then quarantines the record. Every field is checked,
 * because any bytes may have been written to the bus. A value of another type would fail later, in the middle of a batch, again and again.
 */
export function decodeRecord(bytes: Buffer): MessageRecord {
  const ownRecord = ownRecords.get(bytes)
  if (ownRecord !== undefined) return ownRecord
  const headEnd = 4 + bytes.readUInt32BE(0)
  const head: unknown = JSON.parse(bytes.toString('utf8', 4, headEnd))
  if (!isObject(head) || head.schema !== recordSchema)
    throw new Error(
      `message record of schema ${isObject(head) ? JSON.stringify(head.schema) : 'none'}: this version reads schema ${recordSchema} only`,
    )
  const { tenant, accepted_at, correlation_id, by, target, messages: heads } = head
  if (!isUlidText(tenant) || !isTime(accepted_at)) throw new Error('message record without a tenant or a time')
  if (!isName(correlation_id)) throw new Error('message record without a correlation id')
  if (target !== undefined && !isUlidText(target)) throw new Error('message record for an invalid webhook id')
  if (by !== undefined && !isProducer(by)) throw new Error('message record with an invalid producer')
  if (!Array.isArray(heads) || heads.length === 0) throw new Error('message record without messages')
  let start = headEnd
  const messages = heads.map((messageHead: unknown): Message => {
    if (!isMessageHead(messageHead)) throw new Error('message record with an invalid message')
    const [id, event, event_time, source, fingerprint, size] = messageHead
    const sealedBody = bytes.subarray(start, start + size)
    if (sealedBody.length !== size) throw new Error('message record is cut off')
    start += size
    return { id: id as MessageId, event, event_time, source, fingerprint, sealedBody }
  })
  return {
    tenant: tenant as TenantId,
    accepted_at,
    correlation_id,
    messages,
    ...(by === undefined ? {} : { by }),
    ...(target === undefined ? {} : { target: target as WebhookId }),
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null
const isUlidText = (value: unknown): value is string => typeof value === 'string' && isUlid(value)
/** Accepts only the format of `toISOString`, because the first ten characters are used as the day. */
const isTime = (value: unknown): value is string =>
  typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) && !Number.isNaN(Date.parse(value))
/** Accepts only a text that fits into an HTTP header and into a key of every engine, and of which many fit into one event. */
const isName = (value: unknown): value is string => typeof value === 'string' && /^[\x21-\x7e]{1,255}$/.test(value)
const isProducer = (value: unknown): value is Producer => isObject(value) && isName(value.actor) && isName(value.request_id)
const isShortOrNull = (value: unknown): value is string | null => value === null || (typeof value === 'string' && value.length <= 1_000)
function isMessageHead(value: unknown): value is MessageHead {
  if (!Array.isArray(value)) return false
  const [id, event, event_time, source, fingerprint, size]: unknown[] = value
  const areTexts = [id, event, fingerprint].every(isName) && [event_time, source].every(isShortOrNull)
  return areTexts && Number.isSafeInteger(size) && Number(size) >= 0
}

/** Returns the reference of a message in a record. */
export const recordedRef = ({ tenant, accepted_at }: MessageRecord, { id, fingerprint, event }: Message, place: Place): MessageRef => ({
  tenant,
  message: id,
  place,
  fingerprint,
  event,
  accepted_at,
})
export const placeOf = (bus: string, partition: number, offset: bigint, index: number): Place =>
  `${bus}/${partition}/${offset}/${index}` as Place
export function parsePlace(place: Place): { bus: string; partition: number; offset: bigint; index: number } {
  const [bus = '', partition = '', offset = '', index = ''] = place.split('/')
  return { bus, partition: Number(partition), offset: BigInt(offset), index: Number(index) }
}
