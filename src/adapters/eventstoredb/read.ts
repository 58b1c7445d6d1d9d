import type { Readable } from 'node:stream'
import { BACKWARDS, END, type EventStoreDBClient, FORWARDS, START, type StreamingRead, StreamNotFoundError } from '@eventstore/db-client'
import type { RecordedEvent } from '../../events/envelope.ts'
import type { EventStore } from '../../ports/event-store.ts'
import type { Engine } from './engine.ts'
import { toRecordedEvent } from './events.ts'

/** The most events in one request. */
const pageSize = 250

/**
 * Returns events of a stream, or none if the stream does not exist.
 * @param stream may be a stream of the adapter itself, which the port does not know
 * @param options `end` is the time of `performance.now()` at which the read fails
 */
export async function readStream(
  engine: Engine,
  stream: string,
  options: Parameters<EventStore['read']>[1] & { end?: number } = {},
): Promise<RecordedEvent[]> {
  const { limit = Number.POSITIVE_INFINITY, backwards = false, end } = options
  const events: RecordedEvent[] = []
  let from = options.from
  while (events.length < limit && !(backwards && from !== undefined && from < 0)) {
    const count = Math.min(pageSize, limit - events.length)
    const page = await engine.ask(
      stream,
      (client, signal) => readPage(engine, client, { stream, from, count, backwards }, signal),
      end === undefined ? {} : { end },
    )
    events.push(...page)
    const last = page.at(-1)
    if (last === undefined || page.length < count) break
    from = last.revision + (backwards ? -1 : 1)
  }
  return events
}

async function readPage(
  engine: Engine,
  client: EventStoreDBClient,
  { stream, from, count, backwards }: { stream: string; from: number | undefined; count: number; backwards: boolean },
  signal: AbortSignal,
): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = []
  const page = client.readStream(stream, {
    ...readOptions(engine),
    direction: backwards ? BACKWARDS : FORWARDS,
    fromRevision: from === undefined ? (backwards ? END : START) : BigInt(Math.max(0, from)),
    maxCount: count,
  })
  try {
    for await (const { event } of consume(page, signal)) if (event !== undefined) events.push(toRecordedEvent(event))
    return events
  } catch (error) {
    if (error instanceof StreamNotFoundError) return []
    throw error
  }
}

/** Throws unless $all can be read. Subscriptions read $all, for which not every user has the permission. */
export const tryReadingAll = (engine: Engine): Promise<void> =>
  engine.ask('$all', async (client, signal) => {
    for await (const _ of consume(client.readAll({ ...readOptions(engine), maxCount: 1 }), signal));
  })

/** Returns the options of reads. The client has no deadline for reads, so the signal of `ask` ends them. */
const readOptions = ({ callOptions: { credentials, requiresLeader } }: Engine) => ({ credentials, requiresLeader })

/** Reads to the end. Throws when the signal aborts. Releases the call in any case. */
async function* consume<T>(source: StreamingRead<T>, signal: AbortSignal): AsyncGenerator<T, void, void> {
  source.on('error', () => {}) // the loop below throws the error, and an error after the end must not end the process
  // The library keeps a call until all its data are read. So data that arrive after the reader has stopped are read and dropped.
  source.on('unpipe', (call) => (call as Readable).resume())
  const stop = () => source.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    yield* source
  } finally {
    signal.removeEventListener('abort', stop)
    source.cancel().catch(() => {}) // if the call could not begin, its error was thrown above
  }
}
