import { ANY, type AppendExpectedRevision, NO_STREAM, STREAM_EXISTS, WrongExpectedVersionError } from '@eventstore/db-client'
import type { Checkpoint } from '../../events/envelope.ts'
import { type Appended, type ExpectedRevision, meets, RevisionConflict } from '../../ports/event-store.ts'
import type { Engine } from './engine.ts'
import { type AppendItem, toCheckpoint } from './events.ts'
import { readStream } from './read.ts'

export interface Appender {
  /** Appends now, or as soon as one of those under way is answered. Throws what the port says. */
  append(item: AppendItem): Promise<Appended>
  /** No append that begins now will be at or before this position. */
  readonly newest: Checkpoint
}

/** Appends that one process has under way at the most; the rest waits for its turn. */
const maxInFlight = 128

const expectedOf = (expected: ExpectedRevision): AppendExpectedRevision =>
  expected === 'any' ? ANY : expected === 'some' ? STREAM_EXISTS : expected === 'none' || expected === -1 ? NO_STREAM : BigInt(expected)

export function appender(engine: Engine): Appender {
  const waiting: (() => void)[] = []
  let inFlight = 0
  let newest = toCheckpoint(0n)

  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    if (inFlight < maxInFlight) inFlight++
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) inFlight--
      else next() // takes over the place
    }
  }

  const append = async (item: AppendItem): Promise<Appended> => {
    const { stream, expected, events } = item
    const options = { ...engine.callOptions, expectedRevision: expectedOf(expected) }
    try {
      const result = await engine.ask(stream, () => engine.client.appendToStream(stream, [...events], options))
      if (result.position === undefined) throw new Error('the event store needs EventStoreDB 22.6 or later: this one tells no positions')
      const position = toCheckpoint(result.position.commit)
      if (position > newest) newest = position
      return { revision: Number(result.nextExpectedRevision), position }
    } catch (error) {
      if (!(error instanceof WrongExpectedVersionError)) throw error
      const told = error.actualVersion === 'no_stream' ? -1 : Number(error.actualVersion)
      // "Expected 3, found 3" cannot be: such an answer tells of some other moment.
      const isContradiction = typeof expected !== 'string' || expected === 'none' ? meets(expected, told) : false
      const actual = isContradiction ? ((await readStream(engine, stream, { backwards: true, limit: 1 }))[0]?.revision ?? -1) : told
      throw new RevisionConflict(stream, expected, actual)
    }
  }
  return {
    append: (item) => inTurn(() => append(item)),
    get newest() {
      return newest
    },
  }
}
