import { ANY, type AppendExpectedRevision, NO_STREAM, STREAM_EXISTS, WrongExpectedVersionError } from '@eventstore/db-client'
import type { Checkpoint } from '../../events/envelope.ts'
import { isDayStream, type StreamName } from '../../events/streams.ts'
import { atMost } from '../../lib/bounded.ts'
import { step } from '../../lib/points.ts'
import { type Appended, type ExpectedRevision, meets, RevisionConflict } from '../../ports/event-store.ts'
import type { Engine } from './engine.ts'
import { type AppendItem, toCheckpoint } from './events.ts'
import { readStream } from './read.ts'

export interface Appender {
  /** Appends now, or as soon as one of those under way is answered. Throws what the port says. */
  append(item: AppendItem): Promise<Appended>
  /** Sets the metadata of a stream that has none; those that are there stay. */
  describe(stream: StreamName, metadata: { maxAge?: number; maxCount?: number }): Promise<void>
  /** No append that begins now will be at or before this position. */
  readonly newest: Checkpoint
}

/** Under way at the most. Two kinds, so that a caller who waits for a command's event does not stand behind the attempts. */
const maxInFlight = { command: 32, day: 96 }

const expectedOf = (expected: ExpectedRevision): AppendExpectedRevision =>
  expected === 'any' ? ANY : expected === 'some' ? STREAM_EXISTS : expected === 'none' || expected === -1 ? NO_STREAM : BigInt(expected)

export function appender(engine: Engine): Appender {
  const { client, callOptions, ask } = engine
  const turns = { command: atMost(maxInFlight.command), day: atMost(maxInFlight.day) }
  const turnOf = (stream: StreamName) => turns[isDayStream(stream) ? 'day' : 'command']
  let newest = toCheckpoint(0n)

  const append = async ({ stream, expected, events }: AppendItem): Promise<Appended> => {
    const options = { ...callOptions, expectedRevision: expectedOf(expected) }
    try {
      const result = await ask(stream, () => client.appendToStream(stream, [...events], options))
      if (result.position === undefined) throw new Error('the event store needs EventStoreDB 22.6 or later: this one tells no positions')
      const position = toCheckpoint(result.position.commit)
      if (position > newest) newest = position
      return { revision: Number(result.nextExpectedRevision), position }
    } catch (error) {
      if (!(error instanceof WrongExpectedVersionError)) throw error
      throw new RevisionConflict(stream, expected, await actualOf(stream, expected, error))
    }
  }
  const actualOf = async (stream: StreamName, expected: ExpectedRevision, error: WrongExpectedVersionError): Promise<number> => {
    const told = error.actualVersion === 'no_stream' ? -1 : Number(error.actualVersion)
    // "Expected 3, found 3" cannot be: such an answer tells of some other moment.
    const isContradiction = expected !== 'any' && expected !== 'some' && meets(expected, told)
    if (!isContradiction) return told
    const [last] = await readStream(engine, stream, { backwards: true, limit: 1 })
    return last?.revision ?? -1
  }
  return {
    append: (item) => turnOf(item.stream)(() => append(item)),
    describe: (stream, metadata) =>
      turnOf(stream)(async () => {
        const options = { ...callOptions, expectedRevision: NO_STREAM } as const
        try {
          await step('eventstoredb.limit', () => ask(stream, () => client.setStreamMetadata(stream, metadata, options)))
        } catch (error) {
          if (!(error instanceof WrongExpectedVersionError)) throw error // else it has some already
        }
      }),
    get newest() {
      return newest
    },
  }
}
