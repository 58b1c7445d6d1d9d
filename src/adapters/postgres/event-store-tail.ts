import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import { type Family, families, familyOf } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import type { Notices } from '../../lib/notices.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { createWake, untilPoll, type Wake } from '../../lib/wake.ts'
import type { Ask } from './event-store-query.ts'
import { type EventRow, type SizedEvent, toCheckpoint, toRecordedEvent } from './event-store-rows.ts'

/** A part of the newest events, filtered for a subscription of some families. */
interface TailPart {
  /** Events of the families, in order. */
  readonly events: readonly RecordedEvent[]
  /** The position of the last event that was read, of any family. */
  readonly through: Checkpoint
  /** The position of the last event of the same kind (command or day) as one of the families, or null when there was none. */
  readonly last: Checkpoint | null
}
/**
 * The newest events, read once for all subscriptions of this process. A subscription that is further behind than these events reads the
 * database itself.
 */
export interface Tail {
  /** Returns the events after a position, at most `max`. Returns undefined when the tail does not remember that position. */
  since(after: Checkpoint, chosen: readonly Family[], max: number): TailPart | undefined
  /** The position up to which the tail has read, or undefined before its first read. */
  readonly through: Checkpoint | undefined
  /**
   * Takes events that this process has appended. If they directly follow the last read position, the tail need not read them, because events
   * become visible in the order of their positions. Otherwise the tail reads at once.
   */
  appended(recorded: readonly SizedEvent[]): void
  /** Adds a subscription, whose latch is notified of new events. Returns a function that removes the subscription. */
  join(latch: Wake): () => void
}

/** Limits of the events in memory. */
const limit = { events: 5_000, bytes: 8 << 20 }
const readAtOnce = 1_000

interface Item extends SizedEvent {
  readonly family: Family
}

/** The newest events, at most `limit`. */
class Memory {
  items: readonly Item[] = []
  /** All events after this position and up to `through` are in memory. It is undefined before `begin`. */
  start: Checkpoint | undefined
  through: Checkpoint | undefined
  #bytes = 0

  begin(position: Checkpoint): void {
    this.start = position
    this.through = position
  }
  /** Adds events. Events that are in memory already are skipped, because the tail may read events that this process has appended. */
  add(recorded: readonly SizedEvent[]): void {
    const end = this.through ?? ''
    const added = recorded
      .filter(({ event }) => event.position > end)
      .map(({ event, bytes }): Item => ({ event, bytes, family: familyOf(event.stream) }))
    this.items = this.items.concat(added)
    for (const item of added) this.#bytes += item.bytes
    this.through = this.items.at(-1)?.event.position ?? this.through
    let dropped = 0
    while (this.items.length - dropped > limit.events || this.#bytes > limit.bytes) this.#bytes -= this.items[dropped++]!.bytes
    if (dropped === 0) return
    this.start = this.items[dropped - 1]!.event.position
    this.items = this.items.slice(dropped)
  }
  clear(): void {
    this.items = []
    this.start = undefined
    this.through = undefined
    this.#bytes = 0
  }
}

interface TailOptions {
  readonly ask: Ask
  readonly log: Log
  readonly signal: AbortSignal
  readonly notices: Notices
}

export function createTail({ ask, log, signal, notices }: TailOptions): Tail {
  const memory = new Memory()
  const awake = createWake()
  const members = new Set<Wake>()
  let isRunning = false

  const begin = async () => {
    const [row] = await ask<{ head: bigint | string | null }>({
      name: 'event-store-head',
      text: 'select events_head($1, $2) as head',
      values: [true, true],
    })
    memory.begin(toCheckpoint(row?.head ?? '0'))
  }
  /** Reads the next events and returns their number. */
  const read = async (): Promise<number> => {
    if (memory.through === undefined) await begin()
    const rows = await ask<EventRow>({
      name: 'event-store-tail',
      text: 'select * from read_log($1, $2, true, true, null)',
      values: [memory.through, readAtOnce],
    })
    if (rows.length > 0) memory.add(rows.map((row) => ({ event: toRecordedEvent(row), bytes: row.data.length + row.metadata.length })))
    return rows.length
  }
  /** Reads as long as there are subscriptions: at each notice of another process, and regularly. `appended` brings the events of this process. */
  const run = async () => {
    const delays = createBackoff()
    const stopListening = notices.on('events', awake.notify)
    while (members.size > 0 && !signal.aborted)
      try {
        const isFirst = memory.through === undefined
        const count = await read()
        delays.reset()
        if (count > 0 || isFirst) for (const member of members) member.notify()
        if (count === readAtOnce) continue
        await awake.wait(untilPoll(notices.pollMs), signal)
      } catch (error) {
        const delayMs = delays.next()
        if (!signal.aborted) log.warn({ error, delayMs }, 'event_store.subscription_failed')
        await pause(delayMs, signal)
      }
    stopListening()
    isRunning = false
    // The memory is cleared, because it would miss the events that are stored while this loop does not run.
    memory.clear()
  }

  return {
    get through() {
      return memory.through
    },
    since(after, chosen, max) {
      const { items, start, through } = memory
      if (start === undefined || through === undefined || after < start) return undefined
      const kinds = new Set(chosen.map((family) => families[family]))
      const events: RecordedEvent[] = []
      let last: Checkpoint | null = null
      for (let i = firstAfter(items, after); i < items.length; i++) {
        const { family, event } = items[i]!
        if (!kinds.has(families[family])) continue
        last = event.position
        if (!chosen.includes(family)) continue
        events.push(event)
        if (events.length === max) return { events, through: event.position, last }
      }
      return { events, through, last }
    },
    appended(recorded) {
      const first = recorded[0]
      if (first !== undefined) notices.tellOthers('events')
      if (first === undefined || memory.through === undefined || BigInt(first.event.position) !== BigInt(memory.through) + 1n) {
        awake.notify()
        return
      }
      memory.add(recorded)
      for (const member of members) member.notify()
    },
    join(latch) {
      members.add(latch)
      if (!isRunning) {
        isRunning = true
        void run() // `run` catches every error
      }
      return () => members.delete(latch)
    },
  }
}

/** Returns the index of the first item after a position, by binary search. */
function firstAfter(items: readonly Item[], after: Checkpoint): number {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (items[middle]!.event.position > after) high = middle
    else low = middle + 1
  }
  return low
}
