import { randomUUID } from 'node:crypto'
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

export type Answer =
  | { readonly kind: 'done'; readonly revision: number; readonly position: number }
  | Exclude<Decision, { kind: 'append' | 'repeat' }>
export type ReadAnswer =
  | { readonly kind: 'events'; readonly events: readonly Stored[] }
  | { readonly kind: 'not_found' }
  | { readonly kind: 'deleted' }

/** The one log of all streams, as EventStoreDB keeps it. Nothing is answered or read before it is durable. */
export interface EventLog {
  append(stream: string, expected: Expected, events: readonly Proposed[]): Promise<Answer>
  /** Soft: what is there is no longer read, and a later append goes on with the numbering. */
  delete(stream: string, expected: Expected): Promise<Answer>
  /** The stream can never be written again. */
  tombstone(stream: string, expected: Expected): Promise<Answer>
  /** What may be read of a stream: without what its settings hide. */
  read(stream: string): ReadAnswer
  /** How many events of $all there are to read, and each of them: settings do not hide them. */
  readonly size: number
  at(index: number): Stored
  /** Calls back whenever there is more to read, until the function that it answers is called. */
  onMore(listener: () => void): () => void
}

interface StreamOfLog {
  readonly events: Stored[]
  readonly ids: Map<string, Stored>
  isTombstoned: boolean
}

export function eventLog(disk: Disk): EventLog {
  const all: Stored[] = []
  const streams = new Map<string, StreamOfLog>()
  const listeners = new Set<() => void>()
  let position = 1
  let durable = 0
  let lastWrite: Promise<unknown> = Promise.resolve()

  const take = (event: Stored) => {
    let stream = streams.get(event.stream)
    if (stream === undefined) {
      stream = { events: [], ids: new Map(), isTombstoned: false }
      streams.set(event.stream, stream)
    }
    if (event.revision === tombstoneRevision) stream.isTombstoned = true
    else stream.events.push(event)
    stream.ids.set(event.id, event)
    all.push(event)
    position = event.position + 64 + event.data.length + event.metadata.length
  }
  for (const events of disk.writes) events.forEach(take)
  durable = all.length

  const currentOf = (stream: string) => (streams.get(stream)?.events.length ?? 0) - 1
  const settingsOf = (stream: string): StreamSettings => {
    if (streamOfMeta(stream) !== null) return { $maxCount: 1 }
    const text = streams.get(metaStreamOf(stream))?.events.at(-1)?.data.toString()
    try {
      return text === undefined ? {} : JSON.parse(text)
    } catch {
      return {} // the server takes any bytes as metadata, and follows none that are not JSON
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
    take(stored)
    return stored
  }
  const metadata = (data: string): Proposed => ({
    id: randomUUID(),
    type: '$metadata',
    contentType: 'application/json',
    data: Buffer.from(data),
    metadata: Buffer.alloc(0),
  })
  /** A soft-deleted stream lives again, from `next` on; its other settings are kept. */
  const revive = (stream: string, next: number) =>
    place(metaStreamOf(stream), metadata(JSON.stringify({ ...settingsOf(stream), $tb: next })))

  /** Decides at once, in the order of the calls, and answers when all that was decided before is durable. */
  const commit = async (stream: string, expected: Expected, ids: readonly string[], write: (state: StreamState) => Stored | undefined) => {
    const state = stateOf(stream)
    const decision = decide(state, expected, ids)
    let answer: Answer
    if (decision.kind === 'append') {
      const before = all.length
      const last = write(state)
      const size = all.length
      answer = { kind: 'done', revision: last?.revision ?? state.current, position: last?.position ?? position }
      lastWrite = disk.write(all.slice(before)).then(() => {
        durable = size
        for (const listener of listeners) listener()
      })
    } else
      answer = decision.kind === 'repeat' ? { kind: 'done', revision: decision.last.revision, position: decision.last.position } : decision
    await lastWrite
    return answer
  }
  const isDurable = (event: Stored) => durable > 0 && event.position <= all[durable - 1]!.position

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
      const found = streams.get(stream)
      if (found?.isTombstoned) return { kind: 'deleted' }
      const settings = settingsOf(stream)
      const there = found?.events.filter(isDurable) ?? []
      const last = there.at(-1)
      if (last === undefined || isSoftDelete(settings)) return { kind: 'not_found' }
      const { $maxCount = Number.POSITIVE_INFINITY, $tb = 0, $maxAge = Number.POSITIVE_INFINITY } = settings
      const firstRevision = Math.max($tb, last.revision - $maxCount + 1)
      const oldest = Date.now() - $maxAge * 1000
      return { kind: 'events', events: there.filter((event) => event.revision >= firstRevision && event.created >= oldest) }
    },
    get size() {
      return durable
    },
    at: (index) => all[index]!,
    onMore(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
