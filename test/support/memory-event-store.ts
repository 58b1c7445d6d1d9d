import type { Checkpoint, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import { familyOf, type StreamName } from '../../src/events/streams.ts'
import { createWake } from '../../src/lib/wake.ts'
import { type EventStore, type ExpectedRevision, meets, RevisionConflict } from '../../src/ports/event-store.ts'

/** An event store in memory, for tests that need no engine. A test sees its content and can make appends fail. */
export interface MemoryEventStore extends EventStore {
  readonly events: RecordedEvent[]
  /** Called before each append. If it throws, the append fails with that error. */
  beforeAppend: (stream: StreamName, events: readonly NewEvent[]) => void | Promise<void>
  /** Called after each append. If it throws, the writer gets that error although the events are stored. */
  afterAppend: (stream: StreamName) => void | Promise<void>
}

const checkpointAt = (position: number) => String(position).padStart(20, '0') as Checkpoint

export function memoryEventStore(): MemoryEventStore {
  const events: RecordedEvent[] = []
  const latches = new Set<ReturnType<typeof createWake>>()
  const eventsOf = (stream: StreamName) => events.filter((event) => event.stream === stream)
  const write = (stream: StreamName, added: readonly NewEvent[], expected: ExpectedRevision) => {
    const past = eventsOf(stream)
    const repeated = past.filter((event) => added.some((newEvent) => newEvent.id === event.id)).at(-1)
    if (repeated !== undefined) return { revision: repeated.revision, position: repeated.position }
    if (!meets(expected, past.length - 1)) throw new RevisionConflict(stream, expected, past.length - 1)
    for (const event of added) {
      const stored = structuredClone(JSON.parse(JSON.stringify(event)) as NewEvent)
      events.push({ ...stored, stream, revision: eventsOf(stream).length, position: checkpointAt(events.length + 1) })
    }
    for (const latch of latches) latch.notify()
    return { revision: past.length + added.length - 1, position: checkpointAt(events.length) }
  }
  const self: MemoryEventStore = {
    identity: 'memory',
    problem: null,
    events,
    beforeAppend() {},
    afterAppend() {},
    async append(stream, added, expected) {
      await self.beforeAppend(stream, added)
      const appended = write(stream, added, expected)
      await self.afterAppend(stream)
      return appended
    },
    async read(stream, { from = 0, limit = Number.POSITIVE_INFINITY } = {}) {
      return eventsOf(stream).filter((event) => event.revision >= from && event.revision < from + limit)
    },
    async *subscribe({ families, after, signal, batch = 500 }) {
      const latch = createWake()
      latches.add(latch)
      let reached = after ?? ''
      while (!signal.aborted) {
        const next = events.filter((event) => event.position > reached && families.includes(familyOf(event.stream))).slice(0, batch)
        const last = next.at(-1)
        if (last === undefined) await latch.wait(1_000, signal)
        else {
          yield { events: next, checkpoint: last.position }
          reached = last.position
        }
      }
      latches.delete(latch)
    },
    async head(families) {
      return events.findLast((event) => families.includes(familyOf(event.stream)))?.position ?? null
    },
    async close() {},
  }
  return self
}
