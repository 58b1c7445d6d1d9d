import type { DeliveryId, JobId, MessageId, WebhookId } from '../events/ids.ts'
import type { HistoryCursor } from '../ports/delivery-log.ts'
import type { MessageCursor } from '../projections/message-index.ts'
import { ApiError } from './errors.ts'
import { parseDeliveryId, parseJobId, parseMessageId, parseWebhookId } from './ids.ts'
import { toUtc } from './rfc3339.ts'

const invalidCursor = () =>
  new ApiError('invalid_cursor', 'The cursor is not the next_cursor of a page.', {
    details: [{ path: 'cursor', message: 'must be the next_cursor of a page' }],
  })

const write = (...parts: readonly string[]) => Buffer.from(JSON.stringify(parts)).toString('base64url')
function read(cursor: string, count: number): string[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(parts) && parts.length === count && parts.every((part) => typeof part === 'string')) return parts
  } catch {
    // A text that is not JSON is refused below, like every other text that this service did not write.
  }
  throw invalidCursor()
}
/** Parses an id by the same rules as in paths, but throws invalid_cursor instead of not_found. */
function parseId<T>(parse: (text: string) => T, text: string): T {
  try {
    return parse(text)
  } catch {
    throw invalidCursor()
  }
}

/** Returns the cursor of a delivery history. Cursors are opaque to callers, and are checked when a caller sends them. */
export const writeCursor = ({ at, delivery }: HistoryCursor): string => write(at, delivery)
export function readCursor(cursor: string): HistoryCursor {
  const [at = '', delivery = ''] = read(cursor, 2)
  if (toUtc(at) !== at) throw invalidCursor()
  return { at, delivery: parseId<DeliveryId>(parseDeliveryId, delivery) }
}
/** Returns the cursor of the list of events. */
export const writeMessageCursor = ({ at, message }: MessageCursor): string => write(at, message)
export function readMessageCursor(cursor: string): MessageCursor {
  const [at = '', message = ''] = read(cursor, 2)
  if (toUtc(at) !== at) throw invalidCursor()
  return { at, message: parseId<MessageId>(parseMessageId, message) }
}
/** Returns the cursor of the deliveries of an event. */
export const writeWebhookCursor = (webhook: WebhookId): string => write(webhook)
export const readWebhookCursor = (cursor: string): WebhookId => parseId(parseWebhookId, read(cursor, 1)[0] ?? '')
/** Returns the cursor of the list of jobs. */
export const writeJobCursor = (job: JobId): string => write(job)
export const readJobCursor = (cursor: string): JobId => parseId(parseJobId, read(cursor, 1)[0] ?? '')
/** Returns the cursor of the history of a resource. */
export const writeRevisionCursor = (revision: number): string => write(String(revision))
export function readRevisionCursor(cursor: string): number {
  const [revision = ''] = read(cursor, 1)
  if (!/^\d{1,9}$/.test(revision)) throw invalidCursor()
  return Number(revision)
}
