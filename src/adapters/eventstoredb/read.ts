import { BACKWARDS, END, FORWARDS, START, StreamNotFoundError } from '@eventstore/db-client'
import type { RecordedEvent } from '../../events/envelope.ts'
import type { EventStore } from '../../ports/event-store.ts'
import type { Engine } from './engine.ts'
import { toRecordedEvent } from './events.ts'

/** Events asked for at once. */
const pageSize = 250

/** @param stream also one of ours that is no stream of the port's. A stream that does not exist is empty. */
export async function readStream(
  engine: Engine,
  stream: string,
  options: Parameters<EventStore['read']>[1] = {},
): Promise<RecordedEvent[]> {
  const { limit = Number.POSITIVE_INFINITY, backwards = false } = options
  const events: RecordedEvent[] = []
  let from = options.from
  while (events.length < limit && !(backwards && from !== undefined && from < 0)) {
    const count = Math.min(pageSize, limit - events.length)
    const page = await engine.ask(stream, (signal) => readPage(engine, stream, from, count, backwards, signal))
    events.push(...page)
    const last = page.at(-1)
    if (last === undefined || page.length < count) break
    from = last.revision + (backwards ? -1 : 1)
  }
  return events
}

async function readPage(
  engine: Engine,
  stream: string,
  from: number | undefined,
  count: number,
  backwards: boolean,
  signal: AbortSignal,
): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = []
  const { deadline: _, ...callOptions } = engine.callOptions // the client gives reads none: the signal is theirs
  const page = engine.client.readStream(stream, {
    ...callOptions,
    direction: backwards ? BACKWARDS : FORWARDS,
    fromRevision: from === undefined ? (backwards ? END : START) : BigInt(Math.max(0, from)),
    maxCount: count,
  })
  page.on('error', () => {}) // told to the loop below; one that comes after its end must not end the process
  const stop = () => page.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const { event } of page) if (event !== undefined) events.push(toRecordedEvent(event))
    return events
  } catch (error) {
    if (error instanceof StreamNotFoundError) return []
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    page.cancel().catch(() => {}) // a call that could not even begin: its error has been thrown above
  }
}
