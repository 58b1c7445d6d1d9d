import { type Checkpoint, objectOf, type RecordedEvent } from '../events/envelope.ts'
import { defaultTenant, type EventId } from '../events/ids.ts'
import { type LogEvents, logStream } from '../events/log.ts'
import type { OperatorEvents } from '../events/operator.ts'
import type { EventStore } from '../ports/event-store.ts'
import { type CommandStreams, hashOf } from './command-streams.ts'

interface LogEventDeps {
  readonly store: Pick<EventStore, 'read'>
  readonly streams: Pick<CommandStreams, 'append'>
}

type StoredInLog = LogEvents & OperatorEvents
interface LogEvent<T extends keyof StoredInLog> {
  readonly id: EventId
  readonly type: T
  readonly data: StoredInLog[T]
  readonly actor?: `system:${string}`
  readonly now: Date
  /** The id of the event that led to this one. Both then have the same correlation id. */
  readonly cause?: EventId | null
}

/** Appends an event about the audit log itself. It reads only the last event of the stream, which grows by one batch a minute. Throws RevisionConflict. */
export async function appendLogEvent<T extends keyof StoredInLog>(
  { store, streams }: LogEventDeps,
  { id, type, data, actor = 'system:log', now, cause = null }: LogEvent<T>,
): Promise<Checkpoint> {
  const [last] = await store.read(logStream, { backwards: true, limit: 1 })
  const past =
    last === undefined
      ? { events: [], revision: -1, position: null, hash: null }
      : { events: [last], revision: last.revision, position: last.position, hash: hashOf(last) }
  const author = { actor, tenant: defaultTenant, time: now.toISOString(), $correlationId: cause ?? id, $causationId: cause }
  const { position } = await streams.append(logStream, [{ id, type, data }], past.revision < 0 ? 'none' : past.revision, past, author)
  return position
}

export type BatchSealed = RecordedEvent<'BatchSealed', LogEvents['BatchSealed']>
export const isBatchSealed = (event: RecordedEvent): event is BatchSealed =>
  event.type === 'BatchSealed' && 'through' in objectOf(event.data)

const pageSize = 10
/** Returns the last batch that was sealed after a time, or null. */
export async function lastBatch(store: Pick<EventStore, 'read'>, sealedAfter: string): Promise<BatchSealed | null> {
  for (let from: number | undefined; ; ) {
    const page = await store.read(logStream, { backwards: true, limit: pageSize, ...(from === undefined ? {} : { from }) })
    const batch = page.find(isBatchSealed)
    if (batch !== undefined) return batch.metadata.time > sealedAfter ? batch : null
    const last = page.at(-1)
    if (last === undefined || last.revision === 0) return null
    from = last.revision - 1
  }
}
