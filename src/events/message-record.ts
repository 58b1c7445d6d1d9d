import { isUlid, type MessageId, type Place, type TenantId, type WebhookId } from './ids.ts'

/** One message as it travels on the bus: its payload was sealed when it was accepted and stays so. */
export interface Message {
  readonly id: MessageId
  readonly event: string
  /** As the producer sent it, or null. */
  readonly eventTime: string | null
  readonly source: string | null
  readonly fingerprint: string
  /** What every receiver gets as the body of its request, sealed under `payloadAad`. */
  readonly payload: Buffer
}

/** What one produce carries: one message, or a batch that is accepted or refused as a whole. */
export interface MessageRecord {
  readonly tenant: TenantId
  readonly acceptedAt: string
  readonly correlationId: string
  readonly messages: readonly Message[]
  /** The only webhook it is for (a test message), instead of those that match. */
  readonly target?: WebhookId
}

const schema = 1
type MessageHead = [id: string, event: string, eventTime: string | null, source: string | null, fingerprint: string, payloadBytes: number]
interface Head {
  schema: number
  tenant: string
  accepted_at: string
  correlation_id: string
  target?: string
  messages: MessageHead[]
}

/** The bytes of a record: length of the head (4 bytes), the head as JSON, then the payloads one after another. */
export function encodeRecord(record: MessageRecord): Buffer {
  const head: Head = {
    schema,
    tenant: record.tenant,
    accepted_at: record.acceptedAt,
    correlation_id: record.correlationId,
    ...(record.target === undefined ? {} : { target: record.target }),
    messages: record.messages.map((m) => [m.id, m.event, m.eventTime, m.source, m.fingerprint, m.payload.length]),
  }
  const json = Buffer.from(JSON.stringify(head))
  const size = Buffer.allocUnsafe(4)
  size.writeUInt32BE(json.length)
  return Buffer.concat([size, json, ...record.messages.map((m) => m.payload)])
}

/** Throws when the bytes are not a record of a known schema: the reader sets it aside visibly. */
export function decodeRecord(bytes: Buffer): MessageRecord {
  const headEnd = 4 + bytes.readUInt32BE(0)
  const head = JSON.parse(bytes.toString('utf8', 4, headEnd)) as Head
  if (head.schema !== schema) throw new Error(`message record of schema ${head.schema}: this version knows ${schema}`)
  if (!isUlid(head.tenant) || Number.isNaN(Date.parse(head.accepted_at))) throw new Error('message record without a tenant or a time')
  let start = headEnd
  const messages = head.messages.map(([id, event, eventTime, source, fingerprint, size]): Message => {
    const payload = bytes.subarray(start, start + size)
    if (payload.length !== size) throw new Error('message record is cut off')
    start += size
    return { id: id as MessageId, event, eventTime, source, fingerprint, payload }
  })
  return {
    tenant: head.tenant as TenantId,
    acceptedAt: head.accepted_at,
    correlationId: head.correlation_id,
    messages,
    ...(head.target === undefined ? {} : { target: head.target as WebhookId }),
  }
}

export const placeOf = (bus: string, partition: number, offset: bigint, index: number): Place =>
  `${bus}/${partition}/${offset}/${index}` as Place
export function parsePlace(place: Place): { bus: string; partition: number; offset: bigint; index: number } {
  const [bus = '', partition = '', offset = '', index = ''] = place.split('/')
  return { bus, partition: Number(partition), offset: BigInt(offset), index: Number(index) }
}
