import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import { type Family, families, familyOf } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { backoff, pause } from '../../lib/retry.ts'
import { createWake, type Wake } from '../../lib/wake.ts'
import { toCheckpoint } from './event-store-append.ts'
import type { Ask } from './event-store-query.ts'
import { type EventRow, toRecordedEvent } from './event-store-rows.ts'

/** Part of the newest events, as a subscription of some families sees it. */
export interface Seen {
  /** Of the families, in order. */
  readonly events: readonly RecordedEvent[]
  /** The last place that was read, of whatever family. */
  readonly through: Checkpoint
  /** The last place of an event of the same kind (command or day) as one of the families; null when there was none. */
  readonly last: Checkpoint | null
}
/**
 * The newest events, read once for all subscriptions of this process. Who is further behind than it remembers reads for
 * itself.
 */
export interface Tail {
  /** What has come after a place, at most so many events; undefined when it is not remembered. */
  since(after: Checkpoint, wanted: readonly Family[], max: number): Seen | undefined
  /** The place up to which it has read; undefined before it has begun. */
  readonly through: Checkpoint | undefined
  /**
   * This process has appended. What follows what it has read so far needs no reading, since events become visible in the order of
   * their positions: nothing can come between. Else it looks at once.
   */
  appended(recorded: readonly Remembered[]): void
  /** Takes part: the latch is raised whenever something has come. Answers how to leave. */
  join(latch: Wake): () => void
}

/** For what other processes append: what this one does is told. */
const pollMs = { min: 10, max: 50 }
/** Events that it remembers, and their bytes as they were stored. */
const remembered = { events: 5_000, bytes: 8 << 20 }
const readAtOnce = 1_000

/** An event that need not be read again, and what it counts for. */
export interface Remembered {
  readonly event: RecordedEvent
  readonly bytes: number
}
interface Item extends Remembered {
  readonly family: Family
}

export function tail({ ask, log, signal }: { ask: Ask; log: Log; signal: AbortSignal }): Tail {
  const awake = createWake()
  const members = new Set<Wake>()
  let items: Item[] = []
  let bytes = 0
  /** All that came after this place is among the items. */
  let start: Checkpoint | undefined
  let through: Checkpoint | undefined
  let isRunning = false
  /** Since the last look something was handed over, in place: what others append meanwhile shows as a gap before the next. */
  let isHandedOver = false

  const begin = async () => {
    const [row] = await ask<{ head: bigint | string | null }>({
      name: 'event-store-head',
      text: 'select events_head($1, $2) as head',
      values: [true, true],
    })
    start = toCheckpoint(row?.head ?? '0')
    through = start
  }
  /** What is known already is passed over: what this process appended may have been handed over while it was read. */
  const remember = (recorded: readonly Remembered[]) => {
    const known = through ?? ''
    const more = recorded
      .filter(({ event }) => event.position > known)
      .map(({ event, bytes }): Item => ({ event, bytes, family: familyOf(event.stream) }))
    items = items.concat(more)
    for (const item of more) bytes += item.bytes
    through = items.at(-1)?.event.position ?? through
    let gone = 0
    while (items.length - gone > remembered.events || bytes > remembered.bytes) bytes -= items[gone++]!.bytes
    if (gone === 0) return
    start = items[gone - 1]!.event.position
    items = items.slice(gone)
  }
  const look = async (): Promise<number> => {
    if (through === undefined) await begin()
    const rows = await ask<EventRow>({
      name: 'event-store-tail',
      text: 'select * from read_events($1, $2, true, true, null)',
      values: [through, readAtOnce],
    })
    if (rows.length > 0) remember(rows.map((row) => ({ event: toRecordedEvent(row), bytes: row.data.length + row.metadata.length })))
    return rows.length
  }
  const run = async () => {
    const delays = backoff()
    let delay = pollMs.min
    while (members.size > 0 && !signal.aborted)
      try {
        const isFirst = through === undefined
        const found = await look()
        delays.reset()
        if (found > 0 || isFirst) for (const member of members) member.notify()
        if (found === readAtOnce) continue
        delay = isHandedOver ? pollMs.max : found > 0 ? pollMs.min : Math.min(pollMs.max, delay * 2)
        isHandedOver = false
        await awake.wait(delay, signal)
      } catch (error) {
        const delayMs = delays.next()
        if (!signal.aborted) log.warn({ error, delayMs }, 'event_store.subscription_failed')
        await pause(delayMs, signal)
      }
    isRunning = false
    // Nobody looked meanwhile: what is remembered has no end that can be trusted to be near.
    through = undefined
    start = undefined
    items = []
    bytes = 0
  }

  return {
    get through() {
      return through
    },
    since(after, wanted, max) {
      if (start === undefined || through === undefined || after < start) return undefined
      const kinds = new Set(wanted.map((family) => families[family]))
      const events: RecordedEvent[] = []
      let last: Checkpoint | null = null
      for (let i = firstAfter(items, after); i < items.length; i++) {
        const { family, event } = items[i]!
        if (!kinds.has(families[family])) continue
        last = event.position
        if (!wanted.includes(family)) continue
        events.push(event)
        if (events.length === max) return { events, through: event.position, last }
      }
      return { events, through, last }
    },
    appended(recorded) {
      const first = recorded[0]
      if (first === undefined || through === undefined || BigInt(first.event.position) !== BigInt(through) + 1n) {
        awake.notify()
        return
      }
      remember(recorded)
      isHandedOver = true
      for (const member of members) member.notify()
    },
    join(latch) {
      members.add(latch)
      if (!isRunning) {
        isRunning = true
        void run() // it catches whatever fails
      }
      return () => members.delete(latch)
    },
  }
}

/** Index of the first item after a place, by halving. */
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
