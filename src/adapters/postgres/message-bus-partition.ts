import { performance } from 'node:perf_hooks'
import { backoff, pause } from '../../lib/retry.ts'
import { createWake } from '../../lib/wake.ts'
import type { BusRecord } from '../../ports/message-bus.ts'

/** What a partition's view asks of the database. */
export interface PartitionReader {
  /** Records after `known`, up to and including `through` if that is given, in order; `complete` when there were no more. */
  read(known: bigint, through: bigint | null): Promise<{ records: BusRecord[]; complete: boolean }>
  /** An offset up to which nothing is under way any more, or null when none was given out yet. */
  settled(): Promise<bigint | null>
  onError(error: unknown, delayMs: number): void
}
/** One owned partition as its consumer sees it: every record once, in order, from memory where this process produced it. */
export interface PartitionView {
  /** This process is about to produce: what a poll sees of it will be handed over. Answers how to say that it is over. */
  producing(): () => void
  /** Records that this process has just committed; they follow the offset `previous` without a gap. */
  handOver(previous: bigint, records: readonly BusRecord[]): void
  /** A poll has seen that offsets up to this one were given out. Answers whether that is news. */
  seen(offset: bigint): boolean
  /** Whether a fetch waits with nothing to go on: only then is a poll worth its query. */
  readonly isWaiting: boolean
  fetch(max: number): Promise<BusRecord[]>
}

/** Records that follow `previous` without a gap; when they are used up, all up to `through` is known. */
interface Run {
  readonly previous: bigint
  readonly through: bigint
  readonly records: readonly BusRecord[]
  next: number
}

export function createPartitionView(options: {
  startAt: bigint
  reader: PartitionReader
  lost: AbortSignal
  /** A fetch that finds nothing answers after so long. */
  waitMs: number
  /** Beyond these the records in memory are forgotten, and read back when their turn comes. */
  maxHeld?: { records: number; bytes: number }
}): PartitionView {
  const { startAt, reader, lost, waitMs, maxHeld = { records: 5_000, bytes: 16 << 20 } } = options
  const awake = createWake()
  /** Nothing at or below this is still to be handed out. */
  let known = startAt - 1n
  let runs: Run[] = []
  let held = { records: 0, bytes: 0 }
  /** The database may hold something after the runs; at the start it does. */
  let unread = true
  /** Behind: what is handed over stays in the database until a read has caught up. */
  let behind = false
  let overlooked = false
  let waiting = false
  let producing = 0
  let turn: Promise<unknown> = Promise.resolve()

  const take = (max: number): BusRecord[] => {
    const taken: BusRecord[] = []
    for (let run = runs[0]; run !== undefined && run.previous <= known && taken.length < max; run = runs[0]) {
      while (run.next < run.records.length && taken.length < max) {
        const record = run.records[run.next++]!
        held.records--
        held.bytes -= record.bytes.length
        if (record.offset <= known) continue // it has come both by hand and by reading
        taken.push(record)
        known = record.offset
      }
      if (run.next < run.records.length) break
      runs.shift()
      if (run.through > known) known = run.through
    }
    return taken
  }
  const hold = (run: Run, where: 'first' | 'last') => {
    for (const record of run.records) held.bytes += record.bytes.length
    held.records += run.records.length
    if (where === 'first') runs.unshift(run)
    else runs.push(run)
  }
  const overlook = () => {
    behind = true
    overlooked = true
    unread = true
  }

  /** Reads all between what is known and `through`, which nothing can join any more. */
  const readUpTo = async (through: bigint): Promise<void> => {
    const { records, complete } = await reader.read(known, through)
    if (!complete) unread = true
    hold({ previous: known, through: complete ? through : (records.at(-1)?.offset ?? known), records, next: 0 }, 'first')
  }
  const readOn = async (): Promise<void> => {
    unread = false
    overlooked = false
    const { records, complete } = await reader.read(known, null)
    if (!complete || overlooked) unread = true
    behind = unread
    const last = records.at(-1)
    if (last !== undefined) return hold({ previous: known, through: last.offset, records, next: 0 }, 'first')
    // Nothing, though offsets were given out: a produce is under way, or a rollback has left a gap, which is passed here.
    const settled = await reader.settled()
    if (settled !== null && settled > known) await readUpTo(settled)
  }

  const failures = backoff()
  const fetchNow = async (max: number): Promise<BusRecord[]> => {
    const end = performance.now() + waitMs
    while (!lost.aborted) {
      const taken = take(max)
      if (taken.length > 0) return taken
      const remaining = end - performance.now()
      if (remaining <= 0) break
      const next = runs[0]
      try {
        if (next !== undefined) await readUpTo(next.previous)
        else if (unread) await readOn()
        else {
          waiting = true
          await awake.wait(remaining, lost)
          waiting = false
        }
        failures.reset()
      } catch (error) {
        unread = true
        const delay = failures.next()
        reader.onError(error, delay)
        await pause(delay, lost)
      }
    }
    return []
  }

  return {
    producing() {
      producing++
      return () => {
        producing--
      }
    },
    handOver(previous, records) {
      if (behind) return overlook()
      hold({ previous, through: records.at(-1)?.offset ?? previous, records, next: 0 }, 'last')
      if (held.records > maxHeld.records || held.bytes > maxHeld.bytes) {
        runs = []
        held = { records: 0, bytes: 0 }
        overlook()
      }
      awake.notify()
    },
    seen(offset) {
      // What others have produced meanwhile is found by the gap before what is handed over, or by the next poll.
      if (offset <= known || runs.length > 0 || unread || producing > 0) return false
      unread = true
      awake.notify()
      return true
    },
    get isWaiting() {
      return waiting
    },
    fetch(max) {
      // One after another: two at once would hand out the same records.
      const mine = turn.then(() => fetchNow(max))
      turn = mine.catch(() => undefined) // its own caller is told
      return mine
    },
  }
}
