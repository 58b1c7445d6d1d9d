import { objectOf, type RecordedEvent } from '../../events/envelope.ts'
import { toCheckpoint } from './event-store-append.ts'

/** An event as its tables have it. */
export interface EventRow {
  readonly position: bigint | string
  readonly id: string
  readonly revision: number
  readonly stream: string
  readonly type: string
  readonly data: string
  readonly metadata: string
}
export const toRecordedEvent = (row: EventRow): RecordedEvent =>
  ({
    id: row.id,
    type: row.type,
    data: objectOf(JSON.parse(row.data)),
    metadata: objectOf(JSON.parse(row.metadata)),
    stream: row.stream,
    revision: row.revision,
    position: toCheckpoint(row.position),
  }) as RecordedEvent
