import {
  ANY,
  type AppendExpectedRevision,
  type EventData,
  type JSONType,
  jsonEvent,
  NO_STREAM,
  STREAM_EXISTS,
  WrongExpectedVersionError,
} from '@eventstore/db-client'
import { LRUCache } from 'lru-cache'
import type { Checkpoint, NewEvent } from '../../events/envelope.ts'
import { step } from '../../events/steps.ts'
import { isDayStream, type StreamName } from '../../events/streams.ts'
import { createLimiter } from '../../lib/bounded.ts'
import { type Appended, type ExpectedRevision, RevisionConflict } from '../../ports/event-store.ts'
import { createBatchAppends } from './batch-append.ts'
import type { Engine } from './engine.ts'
import { type AppendItem, toCheckpoint } from './events.ts'
import { readStream } from './read.ts'
import { readableRevision } from './readable.ts'

export interface Appender {
  /**
   * Appends now, or as soon as one of the appends in flight has ended. With an exact revision or `none`, the append is repeated while the
   * engine is unavailable. This stores nothing twice, because the server compares the ids with those in the stream. With `any` or `some` the append
   * is tried once, unless storing the events twice does no harm. Throws the errors that the port names.
   */
  append(item: AppendItem, options?: { end?: number; harmlessTwice?: boolean }): Promise<Appended>
  /**
   * Appends an item that expects `any`, by the RPC BatchAppend. An error says only whether the append may have been stored (StoreUnavailable)
   * or was refused (any other error). The caller then repeats the append by `append`, whose error says why.
   */
  appendQuickly(item: AppendItem, end: number): Promise<Appended>
  /** Sets the metadata of a stream that has none. Existing metadata stay. */
  describe(stream: StreamName, metadata: { maxAge?: number; maxCount?: number }): Promise<void>
  /** The newest known position. No append that begins now gets this position or a lower one. */
  readonly newest: Checkpoint
  /** Returns the revision of the last event that this process has appended to the stream, or undefined if the revision is forgotten. */
  revisionOf(stream: StreamName): number | undefined
}

/** The most appends in flight at once. There are two limits, so that the event of a command does not wait for the events of attempts. */
const maxInFlight = { command: 32, day: 96 }
/** The most streams whose last revision is remembered. */
const maxRevisions = 20_000

const expectedOf = (expected: ExpectedRevision): AppendExpectedRevision =>
  expected === 'any' ? ANY : expected === 'some' ? STREAM_EXISTS : expected === 'none' || expected === -1 ? NO_STREAM : BigInt(expected)

/** The client stores the result of JSON.stringify for data and metadata. */
const toClientEvent = ({ id, type, data, metadata }: NewEvent): EventData =>
  jsonEvent({ id, type, data: data as JSONType, metadata: metadata as unknown as JSONType })

export function createAppender(engine: Engine): Appender {
  const { callOptions, ask } = engine
  const limits = { command: createLimiter(maxInFlight.command), day: createLimiter(maxInFlight.day) }
  const limitOf = (stream: StreamName) => limits[isDayStream(stream) ? 'day' : 'command']
  const revisions = new LRUCache<StreamName, number>({ max: maxRevisions })
  let newest = toCheckpoint(0n)

  const batches = createBatchAppends(engine)
  /** Remembers the result of an append. */
  const keep = (stream: StreamName, revision: number, commit: bigint): Appended => {
    const position = toCheckpoint(commit)
    if (position > newest) newest = position
    revisions.set(stream, Math.max(revision, revisions.get(stream) ?? -1))
    return { revision, position }
  }

  const append: Appender['append'] = async ({ stream, expected, events }, { end, harmlessTwice = false } = {}) => {
    const options = { ...callOptions, expectedRevision: expectedOf(expected) }
    try {
      const result = await ask(stream, (client) => client.appendToStream(stream, events.map(toClientEvent), options), {
        once: !harmlessTwice && (expected === 'any' || expected === 'some'),
        ...(end === undefined ? {} : { end }),
      })
      if (result.position === undefined)
        throw new Error('the event store needs EventStoreDB 22.6 or later: this server returns no positions')
      return keep(stream, Number(result.nextExpectedRevision), result.position.commit)
    } catch (error) {
      if (!(error instanceof WrongExpectedVersionError)) throw error
      const reported = error.actualVersion === 'no_stream' ? -1 : Number(error.actualVersion)
      const readLast = async () => (await readStream(engine, stream, { backwards: true, limit: 1 }))[0]?.revision ?? -1
      throw new RevisionConflict(stream, expected, await readableRevision(stream, expected, reported, readLast))
    }
  }
  return {
    append: (item, options) => limitOf(item.stream)(() => append(item, options)),
    appendQuickly: (item, end) =>
      limitOf(item.stream)(async () => {
        const { revision, commit } = await batches.append(item, end)
        return keep(item.stream, revision, commit)
      }),
    describe: (stream, metadata) =>
      limitOf(stream)(async () => {
        const options = { ...callOptions, expectedRevision: NO_STREAM } as const
        try {
          await step('eventstoredb.limit', () => ask(stream, (client) => client.setStreamMetadata(stream, metadata, options)))
        } catch (error) {
          if (!(error instanceof WrongExpectedVersionError)) throw error // the stream has metadata already
        }
      }),
    get newest() {
      return newest
    },
    revisionOf: (stream) => revisions.get(stream),
  }
}
