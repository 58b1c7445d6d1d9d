import type { Checkpoint, RecordedEvent } from '../../events/envelope.ts'
import { type Family, families } from '../../events/streams.ts'
import type { Log } from '../../lib/log.ts'
import { backoff, pause } from '../../lib/retry.ts'
import type { Wake } from '../../lib/wake.ts'
import type { EventBatch } from '../../ports/event-store.ts'
import { toCheckpoint } from './event-store-append.ts'
import type { Ask } from './event-store-query.ts'

export interface EventRow {
  readonly position: bigint | string
  readonly id: string
  readonly revision: number
  readonly stream: string
  readonly type: string
  readonly data: string
  readonly metadata: string
}
/** A place that was read and is not of the wanted families. */
interface BarePosition {
  readonly position: bigint | string
  readonly data: null
}
export const toRecordedEvent = (row: EventRow): RecordedEvent =>
  ({
    id: row.id,
    type: row.type,
    data: JSON.parse(row.data),
    metadata: JSON.parse(row.metadata),
    stream: row.stream,
    revision: row.revision,
    position: toCheckpoint(row.position),
  }) as RecordedEvent

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
const pollMs = { min: 2, max: 50 }

/**
 * The live reader. It looks again at once when `wake` says that this process has appended, and otherwise after 2 ms,
 * doubling up to 50 ms while nothing comes. After a failure it goes on from its checkpoint, with back-off.
 */
export async function* subscription(options: {
  ask: Ask
  log: Log
  wanted: Wanted
  after: Checkpoint | null
  batch: number
  wake: Wake
  signal: AbortSignal
}): AsyncGenerator<EventBatch, void, void> {
  const { ask, log, wanted, batch, wake, signal } = options
  const delays = backoff()
  let checkpoint = options.after ?? toCheckpoint('0')
  let delay = pollMs.min
  while (!signal.aborted) {
    let rows: (EventRow | BarePosition)[]
    try {
      rows = await ask<EventRow | BarePosition>({
        name: 'event-store-subscribe',
        text: 'select * from read_events($1, $2, $3, $4, $5)',
        values: [checkpoint, batch, wanted.commands, wanted.days, wanted.only],
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
      checkpoint = toCheckpoint(last.position)
      delay = pollMs.min
      yield { events: rows.filter(isEvent).map(toRecordedEvent), checkpoint }
      if (rows.length === batch) continue
    }
    await wake.wait(delay, signal)
    delay = Math.min(pollMs.max, delay * 2)
  }
}
