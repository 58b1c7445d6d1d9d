import type { Checkpoint, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import { type Family, familyOf, isDayStream, type StreamName } from '../../src/events/streams.ts'
import type { AppendOptions, EventStore, ExpectedRevision } from '../../src/ports/event-store.ts'
import type { Code } from './code.ts'
import { context, Later, type Life, type Simulation } from './simulation.ts'

const checkpointAt = (position: number) => String(position).padStart(20, '0') as Checkpoint
/** A failed read is retried after this many milliseconds. */
const retryMs = 50
/** While reads lag, an event can be read this many milliseconds after it was stored. */
const lagMs = 12

/**
 * An event store that has the guarantees of its port and no more. It may forget the ids of `any` appends. Then it recognises a repeated append only
 * if the same process repeats it, or if the append has a time `since`. Its reads may lag: then an append is checked against events that cannot be
 * read yet, as in EventStoreDB, and the code of that adapter waits after a conflict until they can be read.
 */
export class ModelEvents implements EventStore {
  readonly identity = 'model'
  readonly problem = null
  readonly all: RecordedEvent[] = []
  /** Called with each event as it is stored. */
  onStored: (event: RecordedEvent) => void = () => {}
  private readonly simulation: Simulation
  private readonly code: Code
  private readonly streams = new Map<StreamName, RecordedEvent[]>()
  private readonly ids = new Map<string, RecordedEvent>()
  /** All events by their ids, as a search in the stream would find them. */
  private readonly everyId = new Map<string, RecordedEvent>()
  /** The appends of each process so far, by stream and last event id. */
  private readonly tried = new WeakMap<Life, Set<string>>()
  private readonly storedBy = new Map<string, Life>()
  /** Called when an event id is stored twice in a stream, although the process that appended it was never frozen. */
  onTwice: (event: NewEvent) => void = () => {}
  /** The families whose readers get no events at the moment, each with the time at which they get events again. */
  private readonly stopped = new Map<Family, number>()
  private readonly waiting = new Set<() => boolean>()
  private lagsUntil = 0
  /** The times at which the events of `all` can be read, in the same order. */
  private readonly readableAt: number[] = []
  /** The highest revision of each stream that a conflict has reported to each process. */
  private readonly conflicts = new WeakMap<Life, Map<StreamName, number>>()
  /** Called when a read does not show the event that caused an earlier conflict of the same process. */
  onUnreadable: (stream: StreamName, reported: number, revision: number) => void = () => {}

  constructor(simulation: Simulation, code: Code) {
    this.simulation = simulation
    this.code = code
  }
  append(stream: StreamName, events: readonly NewEvent[], expected: ExpectedRevision, options: AppendOptions = {}) {
    const name = `append ${stream.slice(0, 8)} ${events.map((event) => `${event.type} ${event.id.slice(0, 8)}`).join(', ')}`
    const { life } = context.getStore()!
    const tried = this.tried.get(life) ?? new Set()
    this.tried.set(life, tried)
    const key = `${stream}/${events.at(-1)?.id}`
    const isLookedFor = options.since !== undefined || tried.has(key)
    tried.add(key)
    const call = this.simulation.call({
      engine: 'events',
      name,
      effect: () => {
        const stored = this.everyId.get(key)
        // A delayed try recognises the events of a later try of the same process, because the server has not been restarted between them.
        const isOwn = this.storedBy.get(key) === life
        if (stored !== undefined && (isLookedFor || isOwn)) return { revision: stored.revision, position: stored.position }
        if (stored !== undefined && !this.ids.has(key) && expected === 'any' && !life.wasFrozen) this.onTwice(stored)
        this.storedBy.set(key, life)
        return this.write(stream, events, expected)
      },
    })
    return call.catch((error) => this.afterConflict(life, error))
  }
  /** Throws the error of an append. A conflict is thrown when the code of the adapter says that its event can be read. */
  private async afterConflict(life: Life, error: unknown): Promise<never> {
    const { readable, eventStore } = this.code
    if (!(error instanceof eventStore.RevisionConflict)) throw error
    const { stream, expected, actual: reported } = error
    const actual = await readable.readableRevision(stream, expected, reported, async () => (await this.read(stream)).at(-1)?.revision ?? -1)
    const conflicts = this.conflicts.get(life) ?? new Map<StreamName, number>()
    this.conflicts.set(life, conflicts.set(stream, Math.max(actual, conflicts.get(stream) ?? -1)))
    throw new eventStore.RevisionConflict(stream, expected, actual)
  }
  lengthOf(stream: StreamName): number {
    return this.streams.get(stream)?.length ?? 0
  }
  /** Stores events at once, without a simulated call. */
  write(stream: StreamName, events: readonly NewEvent[], expected: ExpectedRevision) {
    const past = this.streams.get(stream) ?? []
    const earlier = this.ids.get(`${stream}/${events.at(-1)?.id}`)
    if (earlier !== undefined) return { revision: earlier.revision, position: earlier.position }
    const actual = past.length - 1
    if (!this.code.eventStore.meets(expected, actual)) throw new this.code.eventStore.RevisionConflict(stream, expected, actual)
    for (const event of events) {
      // The copies are other objects, so a process does not take an event of another one for its own when it checks the MAC.
      const copy = { ...event, data: { ...event.data }, metadata: { ...event.metadata } }
      const stored: RecordedEvent = { ...copy, stream, revision: past.length, position: checkpointAt(this.all.length + 1) }
      past.push(stored)
      this.all.push(stored)
      this.readableAt.push(this.nextReadableAt())
      this.ids.set(`${stream}/${event.id}`, stored)
      this.everyId.set(`${stream}/${event.id}`, stored)
      this.onStored(stored)
    }
    this.streams.set(stream, past)
    this.wakeReaders()
    return { revision: past.length - 1, position: checkpointAt(this.all.length) }
  }
  /** Returns the time at which an event that is stored now can be read. Events become readable in the order of their positions. */
  private nextReadableAt(): number {
    const { now } = this.simulation
    if (now >= this.lagsUntil) return Math.max(now, this.readableAt.at(-1) ?? 0)
    const at = Math.max(now + this.simulation.random.int(0, lagMs), this.readableAt.at(-1) ?? 0)
    this.simulation.at(at, () => this.wakeReaders())
    return at
  }
  private isReadable(event: RecordedEvent): boolean {
    return this.readableAt[Number(event.position) - 1]! <= this.simulation.now
  }
  read(stream: StreamName, { from, limit, backwards = false }: Parameters<EventStore['read']>[1] = {}) {
    const { life } = context.getStore()!
    const reported = this.conflicts.get(life)?.get(stream) ?? -1
    return this.simulation.call({
      engine: 'events',
      name: `read ${stream}`,
      quiet: true,
      effect: () => {
        const events = (this.streams.get(stream) ?? []).filter((event) => this.isReadable(event))
        const revision = events.at(-1)?.revision ?? -1
        if (revision < reported) this.onUnreadable(stream, reported, revision)
        const inOrder = backwards ? events.filter((event) => event.revision <= (from ?? revision)).reverse() : events.slice(from ?? 0)
        return inOrder.slice(0, limit)
      },
    })
  }
  async head(families: readonly Family[]) {
    return this.simulation.call({
      engine: 'events',
      name: 'head',
      quiet: true,
      effect: () => this.all.findLast((event) => families.includes(familyOf(event.stream)))?.position ?? null,
    })
  }
  async *subscribe({ families, after, signal, batch = 500 }: Parameters<EventStore['subscribe']>[0]) {
    let reached: string = after ?? ''
    while (!signal.aborted) {
      const events = await this.next(families, reached, Math.min(batch, this.simulation.random.int(1, 8)), signal)
      const last = events.at(-1)
      if (last === undefined) continue
      yield { events, checkpoint: last.position }
      reached = last.position
    }
  }
  private async next(families: readonly Family[], after: string, most: number, signal: AbortSignal): Promise<RecordedEvent[]> {
    try {
      return await this.simulation.call({
        engine: 'events',
        name: 'fetch',
        quiet: true,
        effect: () =>
          new Later<RecordedEvent[]>((resolve) => {
            const tryRead = () => {
              const events = this.after(families, after, most)
              if (events.length === 0 && !signal.aborted) return false
              resolve(events)
              return true
            }
            if (tryRead()) return
            this.waiting.add(tryRead)
            signal.addEventListener('abort', () => this.waiting.delete(tryRead) && resolve([]), { once: true })
          }),
      })
    } catch {
      await new Promise((resolve) => setTimeout(resolve, retryMs))
      return [] // A subscription survives failures of the engine.
    }
  }
  private after(families: readonly Family[], after: string, most: number): RecordedEvent[] {
    if (families.some((family) => (this.stopped.get(family) ?? 0) > this.simulation.now)) return []
    const events: RecordedEvent[] = []
    for (let i = Number(after); i < this.all.length && events.length < most && this.isReadable(this.all[i]!); i++)
      if (families.includes(familyOf(this.all[i]!.stream))) events.push(this.all[i]!)
    return events
  }
  private wakeReaders(): void {
    for (const tryRead of this.waiting) if (tryRead()) this.waiting.delete(tryRead)
  }
  stopReaders(family: Family, ms: number): void {
    this.stopped.set(family, this.simulation.now + ms)
    this.simulation.at(this.simulation.now + ms, () => this.wakeReaders())
  }
  /** For `ms` milliseconds, events can be read only a while after they were stored. */
  lag(ms: number): void {
    this.lagsUntil = this.simulation.now + ms
  }
  /** Forgets the ids of events in day streams, as a store with a bounded memory does. */
  forget(): void {
    for (const [key, event] of this.ids) if (isDayStream(event.stream)) this.ids.delete(key)
  }
  async close() {}
}
