import type { Checkpoint } from '../../events/envelope.ts'
import { type Family, families } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { backoff, pause } from '../../lib/retry.ts'
import { createWake } from '../../lib/wake.ts'
import type { EventBatch } from '../../ports/event-store.ts'
import { toCheckpoint } from './event-store-append.ts'
import type { Ask } from './event-store-query.ts'
import { type EventRow, toRecordedEvent } from './event-store-rows.ts'
import type { Tail } from './event-store-tail.ts'

/** A place that was read and is not of the wanted families. */
interface BarePosition {
  readonly position: bigint | string
  readonly data: null
}
/** What read_events and events_head are told of the families: which tables, and of those which families (null: all). */
export interface Wanted {
  readonly commands: boolean
  readonly days: boolean
  readonly only: readonly Family[] | null
}
export function wantedOf(chosen: readonly Family[]): Wanted {
  const commands = chosen.some((family) => families[family] === 'command')
  const days = chosen.some((family) => families[family] === 'day')
  const all = Object.entries(families).every(
    ([family, kind]) => !(kind === 'command' ? commands : days) || chosen.some((name) => name === family),
  )
  return { commands, days, only: all ? null : chosen }
}

const isEvent = (row: EventRow | BarePosition): row is EventRow => row.data !== null
/** Only against a call that was missed: the tail tells when something has come. */
const longestWaitMs = 1_000

/**
 * The live reader. It reads for itself until nothing more comes, and from then on takes part in what this process reads
 * once for all (the tail). After a failure it goes on from its checkpoint, with back-off.
 */
export async function* subscription(options: {
  ask: Ask
  log: Log
  tail: Tail
  families: readonly Family[]
  after: Checkpoint | null
  batch: number
  signal: AbortSignal
}): AsyncGenerator<EventBatch, void, void> {
  const { ask, log, tail, families: chosen, batch, signal } = options
  const wanted = wantedOf(chosen)
  const latch = createWake()
  const delays = backoff()
  /** Up to here there is nothing that it has not handed over. */
  let reached = options.after ?? toCheckpoint('0')
  const leave = tail.join(latch)
  try {
    while (!signal.aborted) {
      const seen = tail.since(reached, chosen, batch)
      if (seen !== undefined) {
        if (seen.through > reached) reached = seen.through // this reader may have been faster
        if (seen.last === null) await latch.wait(longestWaitMs, signal)
        else yield { events: seen.events, checkpoint: seen.last }
        continue
      }
      const remembered = tail.through
      let rows: (EventRow | BarePosition)[]
      try {
        rows = await ask<EventRow | BarePosition>({
          name: 'event-store-subscribe',
          text: 'select * from read_events($1, $2, $3, $4, $5)',
          values: [reached, batch, wanted.commands, wanted.days, wanted.only],
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
      } else if (remembered === undefined) await latch.wait(longestWaitMs, signal)
      // What the tail had read before this read began was there to be read, and was not wanted.
      else if (remembered > reached) reached = remembered
    }
  } finally {
    leave()
  }
}
