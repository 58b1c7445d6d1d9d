import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import { type Family, families, familyOf } from '../../events/streams.ts'
import { createWake, type Wake } from '../../lib/wake.ts'
import type { EventBatch } from '../../ports/event-store.ts'
import type { SizedBatch, SubscriptionOptions } from './connected-subscription.ts'

type Kind = (typeof families)[Family]

/** A part of the newest events, filtered for a subscription of some families. */
interface TailPart {
  readonly events: readonly RecordedEvent[]
  readonly through: Checkpoint
}
/**
 * The newest events of command streams or of day streams, read by one subscription for all subscriptions of this process. A subscription that is
 * further behind than these events reads by itself.
 */
export interface Tail {
  /** Returns the events after a position, at most `max`. Returns undefined when the tail does not have all events after that position. */
  since(after: Checkpoint | null, chosen: readonly Family[], max: number): TailPart | undefined
  readonly isReading: boolean
  /** Adds a subscription, and wakes it whenever there are new events or positions. Returns a function that removes the subscription. */
  join(latch: Wake): () => void
}

/** At most this many events, and this many bytes of them, are in memory. */
const limit = { events: 5_000, bytes: 8 << 20 }
const readAtOnce = 500

export const kindsOf = (chosen: readonly Family[]): Kind[] => [...new Set(chosen.map((family) => families[family]))]

/**
 * @param read subscribes alone
 * @param newest returns a position of the store from which the tail begins
 */
export function createTail(options: {
  kind: Kind
  read(options: SubscriptionOptions): AsyncIterable<SizedBatch>
  newest(): Checkpoint
  signal: AbortSignal
}): Tail {
  const { kind, read, newest } = options
  const chosenFamilies = (Object.keys(families) as Family[]).filter((family) => families[family] === kind)
  const members = new Set<Wake>()
  let chunks: SizedBatch[] = []
  const size = { events: 0, bytes: 0 }
  /** All events after `start` and up to `through` are in `chunks`. Null while the tail does not read. */
  let start: Checkpoint | null = null
  let through: Checkpoint | null = null
  let reading: AbortController | null = null

  const begin = () => {
    const stop = new AbortController()
    reading = stop
    start = newest()
    through = start
    void run(stop, start)
  }
  const run = async (stop: AbortController, after: Checkpoint) => {
    const signal = AbortSignal.any([stop.signal, options.signal])
    for await (const batch of read({ families: chosenFamilies, after, batch: readAtOnce, signal })) {
      if (signal.aborted) return
      if (batch.events.length > 0) add(batch)
      through = batch.checkpoint
      for (const member of members) member.notify()
    }
  }
  const add = (batch: SizedBatch) => {
    chunks.push(batch)
    size.events += batch.events.length
    size.bytes += batch.bytes
    while (size.events > limit.events || size.bytes > limit.bytes) {
      const oldest = chunks.shift()!
      size.events -= oldest.events.length
      size.bytes -= oldest.bytes
      start = oldest.checkpoint
    }
  }
  const end = () => {
    reading?.abort()
    reading = null
    chunks = []
    Object.assign(size, { events: 0, bytes: 0 })
    start = null
    through = null
  }
  return {
    since(after, chosen, max) {
      if (start === null || through === null || after === null || after < start) return undefined
      const part: RecordedEvent[] = []
      let first = chunks.length
      while (first > 0 && chunks[first - 1]!.checkpoint > after) first--
      for (const { events } of chunks.slice(first))
        for (const event of events) {
          if (event.position <= after || !chosen.includes(familyOf(event.stream))) continue
          part.push(event)
          if (part.length === max) return { events: part, through: event.position }
        }
      return { events: part, through }
    },
    get isReading() {
      return reading !== null
    },
    join(latch) {
      members.add(latch)
      if (reading === null) begin()
      return () => {
        members.delete(latch)
        if (members.size === 0) end()
      }
    },
  }
}

/** Milliseconds after which a reader looks for events although the tail has not woken it. */
const longestWaitMs = 1_000

/**
 * Yields batches of events as they are stored. The subscription reads by itself until it has reached the tail. From then on it takes events from
 * the tail.
 */
export async function* subscribe(
  tail: Tail,
  read: (options: SubscriptionOptions) => AsyncIterable<EventBatch>,
  options: SubscriptionOptions,
): AsyncGenerator<EventBatch, void, void> {
  const { families: chosen, batch, signal } = options
  const latch = createWake()
  const leave = tail.join(latch)
  let reached = options.after
  try {
    while (!signal.aborted) {
      const part = tail.since(reached, chosen, batch)
      if (part === undefined) {
        for await (const ownBatch of read({ ...options, after: reached })) {
          reached = ownBatch.checkpoint
          yield ownBatch
          if (tail.since(reached, chosen, 1) !== undefined) break
        }
      } else if (reached === null || part.through > reached) {
        reached = part.through
        yield { events: part.events, checkpoint: reached }
      } else await latch.wait(longestWaitMs, signal)
    }
  } finally {
    leave()
  }
}
