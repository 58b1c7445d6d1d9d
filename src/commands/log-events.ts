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

/** The end of the stream of the log: its last event, or null. */
type LogEnd = RecordedEvent | null
export const readLogEnd = async (store: Pick<EventStore, 'read'>): Promise<LogEnd> =>
  (await store.read(logStream, { backwards: true, limit: 1 }))[0] ?? null

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

/**
 * Appends an event about the audit log itself. It reads only the last event of the stream, which grows by one batch a minute. Throws RevisionConflict.
 * @param after the end of the stream that the caller has read. If the stream has grown since, the append fails. Default: its present end.
 */
export async function appendLogEvent<T extends keyof StoredInLog>(
  { store, streams }: LogEventDeps,
  { id, type, data, actor = 'system:log', now, cause = null }: LogEvent<T>,
  after?: LogEnd,
): Promise<Checkpoint> {
  const last = after === undefined ? await readLogEnd(store) : after
  const past =
    last === null
      ? { events: [], revision: -1, position: null, hash: null }
      : { events: [last], revision: last.revision, position: last.position, hash: hashOf(last) }
  const author = { actor, tenant: defaultTenant, time: now.toISOString(), $correlationId: cause ?? id, $causationId: cause }
  const expected = past.revision < 0 ? 'none' : past.revision // mutation: log-revision-ignored
  const { position } = await streams.append(logStream, [{ id, type, data }], expected, past, author)
  return position
}

export type BatchSealed = RecordedEvent<'BatchSealed', LogEvents['BatchSealed']>
export const isBatchSealed = (event: RecordedEvent): event is BatchSealed =>
  event.type === 'BatchSealed' && 'through' in objectOf(event.data)

const pageSize = 10
/** Returns the last batch, or null. */
export async function lastBatch(store: Pick<EventStore, 'read'>): Promise<BatchSealed | null> {
  for (let from: number | undefined; ; ) {
    const page = await store.read(logStream, { backwards: true, limit: pageSize, ...(from === undefined ? {} : { from }) })
    const batch = page.find(isBatchSealed)
    if (batch !== undefined) return batch
    const last = page.at(-1)
    if (last === undefined || last.revision === 0) return null
    from = last.revision - 1
  }
}
