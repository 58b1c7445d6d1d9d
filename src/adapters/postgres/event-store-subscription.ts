import type { Checkpoint } from '../../events/envelope.ts'
import { type Family, families } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { createBackoff, pause } from '../../lib/retry.ts'
import { createWake } from '../../lib/wake.ts'
import type { EventBatch } from '../../ports/event-store.ts'
import type { Ask } from './event-store-query.ts'
import { type EventRow, toCheckpoint, toRecordedEvent } from './event-store-rows.ts'
import type { Tail } from './event-store-tail.ts'

/** The position of an event that belongs to none of the chosen families. */
interface BarePosition {
  readonly position: bigint | string
  readonly data: null
}
/** The parameters of read_log and events_head: the tables to read, and the families to read from them (null for all). */
interface FamilyFilter {
  readonly commands: boolean
  readonly days: boolean
  readonly only: readonly Family[] | null
}
export function filterOf(chosen: readonly Family[]): FamilyFilter {
  const commands = chosen.some((family) => families[family] === 'command')
  const days = chosen.some((family) => families[family] === 'day')
  const areAllChosen = Object.entries(families).every(
    ([family, kind]) => !(kind === 'command' ? commands : days) || chosen.some((name) => name === family),
  )
  return { commands, days, only: areAllChosen ? null : chosen }
}

const isEvent = (row: EventRow | BarePosition): row is EventRow => row.data !== null
/** A reader that the tail has not woken searches for events after this many milliseconds. This limits the delay after a missed wake-up. */
const longestWaitMs = 10_000

/**
 * Yields batches of events as they are stored. The subscription reads the database until it has reached the end. From then on it takes
 * events from the tail. After a failure the subscription continues at its checkpoint, with back-off.
 */
export async function* subscribe(options: {
  ask: Ask
  log: Log
  tail: Tail
  families: readonly Family[]
  after: Checkpoint | null
  batch: number
  signal: AbortSignal
}): AsyncGenerator<EventBatch, void, void> {
  const { ask, log, tail, families: chosen, batch, signal } = options
  const filter = filterOf(chosen)
  const latch = createWake()
  const delays = createBackoff()
  /** All events up to this position have been yielded. */
  let reached = options.after ?? toCheckpoint('0')
  const leave = tail.join(latch)
  try {
    while (!signal.aborted) {
      const part = tail.since(reached, chosen, batch)
      if (part !== undefined) {
        if (part.through > reached) reached = part.through // this reader may be ahead of the tail
        if (part.last === null) await latch.wait(longestWaitMs, signal)
        else yield { events: part.events, checkpoint: part.last }
        continue
      }
      const tailHead = tail.through
      let rows: (EventRow | BarePosition)[]
      try {
        rows = await ask<EventRow | BarePosition>({
          name: 'event-store-subscribe',
          text: 'select * from read_log($1, $2, $3, $4, $5)',
          values: [reached, batch, filter.commands, filter.days, filter.only],
        })
        delays.reset()
      } catch (error) {
        if (signal.aborted) return
        const delayMs = delays.next()
        log.warn({ error, delayMs }, 'event_store.subscription_failed')
        await pause(delayMs, signal)
        continue
      }
      if (signal.aborted) return
      const last = rows.at(-1)
      if (last !== undefined) {
        reached = toCheckpoint(last.position)
        yield { events: rows.filter(isEvent).map(toRecordedEvent), checkpoint: reached }
      } else if (tailHead === undefined) await latch.wait(longestWaitMs, signal)
      // The tail had read up to `tailHead` before this read began. So this read has returned all events of the chosen families up to `tailHead`.
      else if (tailHead > reached) reached = tailHead
    }
  } finally {
    leave()
  }
}
