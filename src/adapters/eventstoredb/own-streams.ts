import { randomUUID } from 'node:crypto'
import type { Checkpoint } from '../../events/envelope.ts'
import type { EventId } from '../../events/ids.ts'
import type { StreamName } from '../../events/streams.ts'
import { createGroupCommit } from '../../lib/group-commit.ts'
import { RevisionConflict, StoreUnavailable } from '../../ports/event-store.ts'
import type { Appender } from './append.ts'
import type { Engine } from './engine.ts'
import { encodeAppend } from './events.ts'
import { readStream } from './read.ts'

// These are streams of the adapter itself. No family has their names.
const engineStream = 'kolbak-engine' as StreamName
/** The stream of markers, whose positions are used as heads. Every subscription includes the stream, and yields only the positions of its events. */
export const headStream = 'kolbak-head' as StreamName

const anEvent = (type: string, data: object) => ({
  id: randomUUID() as EventId,
  type,
  data,
  metadata: {
    schema: 1,
    actor: 'system:event-store' as const,
    tenant: '',
    time: new Date().toISOString(),
    $correlationId: randomUUID(),
    $causationId: null,
  },
})

/**
 * Returns the identity of the data. EventStoreDB itself gives its data no identity. So the first process appends an identity as the first event of a
 * stream of the adapter.
 */
export async function engineIdOf(engine: Engine, { append }: Appender): Promise<string> {
  const namedEvent = anEvent('EngineNamed', { id: randomUUID() })
  try {
    await append(encodeAppend(engineStream, [namedEvent], 'none'))
  } catch (error) {
    if (!(error instanceof RevisionConflict)) throw error
  }
  const [first] = await readStream(engine, engineStream, { limit: 1 })
  if (first === undefined || !('id' in first.data))
    throw new StoreUnavailable(`stream ${engineStream} does not begin with the identity of the engine`)
  return String(first.data.id)
}

export interface Head {
  /** Appends a marker and returns its position. Concurrent calls share one marker. */
  mark(): Promise<Checkpoint>
}
/**
 * Makes the markers of the head. A filtered subscription reports its progress only with an event that passes the filter, or after a whole
 * window without such an event. So the subscription may never report the position of the last event of the store, but it always reports
 * the position of a marker.
 */
export function createHead({ append }: Appender): Head {
  const group = createGroupCommit<null, Checkpoint>({
    async write(callers) {
      const { position } = await append(encodeAppend(headStream, [anEvent('HeadMarked', {})], 'any'), { harmlessTwice: true })
      return callers.map(() => position)
    },
    maxCount: 100_000,
    full: () => new StoreUnavailable('too many callers are waiting for the head of the event store'),
  })
  return { mark: () => group.add(null) }
}
