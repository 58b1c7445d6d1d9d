import { randomUUID } from 'node:crypto'
import { pause } from '../../../src/lib/retry.ts'
import type { Disk } from './disk.ts'
import { type Decision, decide, type StreamState } from './rules.ts'
import {
  type Expected,
  isSoftDelete,
  metaStreamOf,
  type Proposed,
  type Stored,
  type StreamSettings,
  softDeleted,
  streamOfMeta,
  tombstoneRevision,
} from './stored.ts'

export type WriteResult =
  | { readonly kind: 'done'; readonly revision: number; readonly position: number }
  | Exclude<Decision, { kind: 'append' | 'repeat' }>
export type ReadResult =
  | { readonly kind: 'events'; readonly events: readonly Stored[] }
  | { readonly kind: 'not_found' }
  | { readonly kind: 'deleted' }

/** Settings for behaviour of a real server that its documentation does not mention. */
export interface LogSettings {
  /**
   * The longest time in milliseconds between the decision about an append and the moment at which its events can be read. A conflict with such an
   * append is returned at once. (A real 23.10.6 needs up to 9 ms on one node, and 11 ms in a cluster.)
   */
  readonly readableAfterMs: number
  /** One in this number of appends becomes readable late. The others are readable as soon as they are durable. */
  readonly lateOneIn: number
  /** Seed of the random delays. */
  readonly seed: number
  /** If false, ids survive a restart, as the documentation promises. If true, only ids of appends since the start are known. */
  readonly forgetsIds: boolean
}
export const realisticLog: LogSettings = { readableAfterMs: 12, lateOneIn: 4, seed: 1, forgetsIds: true }

/** The log of all streams, as EventStoreDB keeps it. An append succeeds, and its events can be read, only once they are durable. */
export interface EventLog {
  append(stream: string, expected: Expected, events: readonly Proposed[]): Promise<WriteResult>
  /** Deletes a stream softly. Its events can no longer be read, and a later append continues the revisions. */
  delete(stream: string, expected: Expected): Promise<WriteResult>
  /** Tombstones a stream. It can never be written again. */
  tombstone(stream: string, expected: Expected): Promise<WriteResult>
  /** Returns the events of a stream, without those that its settings hide. */
  read(stream: string): ReadResult
  /** The number of places of $all that can be read. */
  readonly size: number
  /** Returns the event at a place of $all, even if settings hide it. Returns undefined when a scavenge has removed it. */
  at(index: number): Stored | undefined
  /** Calls the listener whenever there are more events to read. Returns a function that removes the listener. */
  onMore(listener: () => void): () => void
  /** Removes from $all for ever the events that the settings of their stream hide. Returns the number of removed events. */
  scavenge(): Promise<number>
  /** Adds events that the leader has decided about, in order. They can be read at once. */
  follow(events: readonly Stored[]): void
  /** Forgets the ids of earlier appends, as a node does when it becomes the leader. */
  forgetIds(): void
}

interface StreamOfLog {
  /** The events by revision. An event that a scavenge has removed is undefined. */
  readonly events: (Stored | undefined)[]
  /** The cache of recent ids, which is used only for `any` and `stream_exists`. */
  readonly ids: Map<string, Stored>
  isTombstoned: boolean
}
/** The stream of the events that a scavenge writes. The data of such an event is the JSON array of the removed positions. */
const scavengeStream = '$scavenges'

export function createEventLog(disk: Disk, settings: LogSettings = realisticLog): EventLog {
  const all: (Stored | undefined)[] = []
  const streams = new Map<string, StreamOfLog>()
  const listeners = new Set<() => void>()
  const random = createRandom(settings.seed)
  let position = 1
  let readable = 0
  /** Resolves when all events that were decided so far can be read. Rejects when a write has failed. */
  let allReadable: Promise<unknown> = Promise.resolve()

  const take = (event: Stored, remembersId: boolean) => {
    let stream = streams.get(event.stream)
    if (stream === undefined) {
      stream = { events: [], ids: new Map(), isTombstoned: false }
      streams.set(event.stream, stream)
    }
    if (event.revision === tombstoneRevision) stream.isTombstoned = true
    else stream.events.push(event)
    if (remembersId) stream.ids.set(event.id, event)
    all.push(event)
    position = event.position + 64 + event.data.length + event.metadata.length
    if (event.stream === scavengeStream) remove(new Set(JSON.parse(event.data.toString()) as number[]))
  }
  const remove = (positions: ReadonlySet<number>) => {
    all.forEach((event, index) => {
      if (event === undefined || !positions.has(event.position)) return
      all[index] = undefined
      const events = streams.get(event.stream)?.events
      if (events !== undefined) events[event.revision] = undefined
    })
  }
  const makeReadable = (size: number) => {
    readable = Math.max(readable, size)
    for (const listener of listeners) listener()
  }
  for (const events of disk.writes) for (const event of events) take(event, !settings.forgetsIds)
  readable = all.length

  const currentOf = (stream: string) => (streams.get(stream)?.events.length ?? 0) - 1
  const settingsOf = (stream: string): StreamSettings => {
    if (streamOfMeta(stream) !== null) return { $maxCount: 1 }
    const text = streams.get(metaStreamOf(stream))?.events.at(-1)?.data.toString()
    try {
      return text === undefined ? {} : JSON.parse(text)
    } catch {
      return {} // the server takes any bytes as metadata, and ignores those that are not JSON
    }
  }
  const stateOf = (stream: string): StreamState => ({
    current: currentOf(stream),
    isTombstoned: streams.get(stream)?.isTombstoned ?? false,
    isSoftDeleted: isSoftDelete(settingsOf(stream)),
    hasMetadata: currentOf(metaStreamOf(stream)) >= 0,
    at: (revision) => streams.get(stream)?.events[revision],
    byId: (id) => streams.get(stream)?.ids.get(id),
  })

  const place = (stream: string, event: Proposed, revision = currentOf(stream) + 1): Stored => {
    const stored: Stored = { ...event, stream, revision, position, created: Date.now() }
    take(stored, true)
    return stored
  }
  const metadata = (data: string): Proposed => ({
    id: randomUUID(),
    type: '$metadata',
    contentType: 'application/json',
    data: Buffer.from(data),
    metadata: Buffer.alloc(0),
  })
  /** Makes a soft-deleted stream exist again, beginning at the revision `next`. Its other settings stay. */
  const revive = (stream: string, next: number) =>
    place(metaStreamOf(stream), metadata(JSON.stringify({ ...settingsOf(stream), $tb: next })))

  const lateness = () => (random() * settings.lateOneIn < 1 ? random() * settings.readableAfterMs : 0)

  /** Decides about an append at once, in the order of the calls. A success is returned when the events can be read, and a refusal at once. */
  const commit = async (stream: string, expected: Expected, ids: readonly string[], write: (state: StreamState) => Stored | undefined) => {
    const state = stateOf(stream)
    const decision = decide(state, expected, ids)
    if (decision.kind === 'wrong' || decision.kind === 'deleted') return decision
    let result: WriteResult
    if (decision.kind === 'append') {
      const before = all.length
      const last = write(state)
      const size = all.length
      result = { kind: 'done', revision: last?.revision ?? state.current, position: last?.position ?? position }
      const lateMs = lateness()
      const written = disk.write(all.slice(before).filter((event) => event !== undefined))
      allReadable = Promise.all([allReadable, lateMs === 0 ? written : written.then(() => pause(lateMs))]).then(() => makeReadable(size))
      allReadable.catch(() => {}) // every caller awaits the promise below and gets the error
    } else result = { kind: 'done', revision: decision.last.revision, position: decision.last.position }
    await allReadable
    return result
  }
  const lastReadable = () => {
    for (let index = readable - 1; index >= 0; index--) if (all[index] !== undefined) return all[index]!.position
    return 0
  }
  const visible = (stream: string): Stored[] => {
    const limit = lastReadable()
    const { $maxCount = Number.POSITIVE_INFINITY, $tb = 0, $maxAge = Number.POSITIVE_INFINITY } = settingsOf(stream)
    const present = (streams.get(stream)?.events ?? []).filter((event) => event !== undefined && event.position <= limit) as Stored[]
    const firstRevision = Math.max($tb, (present.at(-1)?.revision ?? 0) - $maxCount + 1)
    const oldest = Date.now() - $maxAge * 1000
    return present.filter((event) => event.revision >= firstRevision && event.created >= oldest)
  }

  return {
    append(stream, expected, events) {
      const ids = events.map((event) => event.id)
      return commit(stream, expected, ids, (state) => {
        const described = streamOfMeta(stream)
        const isRevival = described !== null && isSoftDelete(settingsOf(described))
        const first = state.current + 1
        const last = events.map((event) => place(stream, event)).at(-1)
        if (state.isSoftDeleted) revive(stream, first)
        if (isRevival) revive(described, currentOf(described) + 1)
        return last
      })
    },
    async delete(stream, expected) {
      const { current, hasMetadata, isTombstoned } = stateOf(stream)
      if (current < 0 && !hasMetadata && !isTombstoned) return { kind: 'wrong', current: -1 }
      return commit(stream, expected, [randomUUID()], () => place(metaStreamOf(stream), metadata(softDeleted)))
    },
    tombstone: (stream, expected) => {
      const id = randomUUID()
      return commit(stream, expected, [id], () => place(stream, { ...metadata(''), id, type: '$streamDeleted' }, tombstoneRevision))
    },
    read(stream) {
      const storedStream = streams.get(stream)
      if (storedStream?.isTombstoned) return { kind: 'deleted' }
      const limit = lastReadable()
      // A stream whose events were all removed by a scavenge exists. It is empty, and not "not found".
      const isThere = storedStream?.events.some((event) => event === undefined || event.position <= limit) ?? false
      if (!isThere || isSoftDelete(settingsOf(stream))) return { kind: 'not_found' }
      return { kind: 'events', events: visible(stream) }
    },
    get size() {
      return readable
    },
    at: (index) => all[index],
    onMore(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async scavenge() {
      const hidden: number[] = []
      for (const [name, { events }] of streams) {
        if (name === scavengeStream) continue
        const shown = new Set(visible(name))
        for (const event of events.slice(0, -1)) if (event !== undefined && !shown.has(event)) hidden.push(event.position)
      }
      const event: Proposed = { ...metadata(JSON.stringify(hidden)), type: '$scavengeCompleted' }
      await commit(scavengeStream, 'any', [event.id], () => place(scavengeStream, event))
      return hidden.length
    },
    follow(events) {
      for (const event of events) take(event, false)
      makeReadable(all.length)
    },
    forgetIds() {
      for (const stream of streams.values()) stream.ids.clear()
    },
  }
}

/** Returns a generator of numbers in [0, 1) (mulberry32). The same seed gives the same delays again. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
