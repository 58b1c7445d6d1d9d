import type { DeliveryId, MessageId, WebhookId } from '../events/ids.ts'
import type { HistoryCursor } from '../ports/delivery-log.ts'
import type { MessageCursor } from '../projections/message-index.ts'
import { ApiError } from './errors.ts'
import { parseDeliveryId, parseMessageId, parseWebhookId } from './ids.ts'
import { toUtc } from './rfc3339.ts'

const invalidCursor = () =>
  new ApiError('invalid_cursor', 'The cursor is not one that a page gave as next_cursor.', {
    details: [{ path: 'cursor', message: 'must be the next_cursor of a page' }],
  })

const write = (...parts: readonly string[]) => Buffer.from(JSON.stringify(parts)).toString('base64url')
function read(cursor: string, count: number): string[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(parts) && parts.length === count && parts.every((part) => typeof part === 'string')) return parts
  } catch {
    // Not JSON: refused below, like anything else that we did not write.
  }
  throw invalidCursor()
}
/** Ids are checked by the same rules as in paths, where what is none is not found. */
function checked<T>(id: (text: string) => T, text: string): T {
  try {
    return id(text)
  } catch {
    throw invalidCursor()
  }
}

/** A place in a history: opaque to callers, checked on its way in. */
export const writeCursor = ({ at, delivery }: HistoryCursor): string => write(at, delivery)
export function readCursor(cursor: string): HistoryCursor {
  const [at = '', delivery = ''] = read(cursor, 2)
  if (toUtc(at) !== at) throw invalidCursor()
  return { at, delivery: checked<DeliveryId>(parseDeliveryId, delivery) }
}
/** A place in the list of events. */
export const writeMessageCursor = ({ at, message }: MessageCursor): string => write(at, message)
export function readMessageCursor(cursor: string): MessageCursor {
  const [at = '', message = ''] = read(cursor, 2)
  if (toUtc(at) !== at) throw invalidCursor()
  return { at, message: checked<MessageId>(parseMessageId, message) }
}
/** A place in an event's deliveries. */
export const writeWebhookCursor = (webhook: WebhookId): string => write(webhook)
export const readWebhookCursor = (cursor: string): WebhookId => checked(parseWebhookId, read(cursor, 1)[0] ?? '')
/** A place in a resource's history. */
export const writeRevisionCursor = (revision: number): string => write(String(revision))
export function readRevisionCursor(cursor: string): number {
  const [revision = ''] = read(cursor, 1)
  if (!/^\d{1,9}$/.test(revision)) throw invalidCursor()
  return Number(revision)
}
