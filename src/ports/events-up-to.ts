import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { Family } from '../events/streams.ts'
import type { EventStore } from './event-store.ts'

/**
 * Yields the events of the families after a position and up to another one, batch by batch. At least one event must lie between them, because
 * otherwise the subscription waits for ever.
 * @param after the position after which the events begin, or null for the first event
 * @param upTo the position of the last event, or null for no events
 * @param stop ends the reading early
 */
export async function* eventsUpTo(
  store: Pick<EventStore, 'subscribe'>,
  { families, after, upTo, stop }: { families: readonly Family[]; after: Checkpoint | null; upTo: Checkpoint | null; stop?: AbortSignal },
): AsyncGenerator<readonly RecordedEvent[]> {
  if (upTo === null) return
  const reached = new AbortController()
  const signal = stop === undefined ? reached.signal : AbortSignal.any([reached.signal, stop])
  for await (const { events, checkpoint } of store.subscribe({ families, after, signal })) {
    yield events.filter(({ position }) => position <= upTo)
    if (checkpoint >= upTo) reached.abort()
  }
}
