import { createWake } from '../../lib/wake.ts'
import type { BusRecord } from '../../ports/message-bus.ts'

/** The fetched records of one partition that the consumer has not taken yet. Each record is kept once, in order. */
export interface Intake {
  /** The offset after the last record that was added. The next fetch must begin here, even if the client has another position. */
  readonly next: bigint
  /**
   * Adds the records of a fetch that began at `from`, and skips records that were added before. If the fetch began beyond `next`, records are
   * missing. The function then adds none and returns false.
   */
  add(from: bigint, records: readonly BusRecord[]): boolean
  /** Whether enough records wait, so that fetches should pause until `onRoom`. */
  readonly isFull: boolean
  fetch(max: number): Promise<BusRecord[]>
}

export function createIntake(options: {
  startAt: bigint
  lost: AbortSignal
  /** Milliseconds after which a fetch without records returns. */
  waitMs: number
  full: { records: number; bytes: number }
  /** Called when the intake was full and half of it has been taken. */
  onRoom(): void
}): Intake {
  const { startAt, lost, waitMs, full, onRoom } = options
  const awake = createWake()
  let next = startAt
  let waiting: BusRecord[] = []
  let bytes = 0
  let isFull = false
  let turn: Promise<unknown> = Promise.resolve()

  const take = (max: number): BusRecord[] => {
    const takenRecords = waiting.slice(0, max)
    waiting = waiting.slice(max)
    for (const record of takenRecords) bytes -= record.bytes.length
    if (isFull && waiting.length <= full.records / 2 && bytes <= full.bytes / 2) {
      isFull = false
      onRoom()
    }
    return takenRecords
  }
  const fetchNow = async (max: number): Promise<BusRecord[]> => {
    if (waiting.length === 0) await awake.wait(waitMs, lost)
    return lost.aborted ? [] : take(max)
  }
  return {
    get next() {
      return next
    },
    get isFull() {
      return isFull
    },
    add(from, records) {
      if (from > next) return false
      for (const record of records) {
        if (record.offset < next) continue
        waiting.push(record)
        bytes += record.bytes.length
        next = record.offset + 1n
      }
      isFull ||= waiting.length >= full.records || bytes >= full.bytes
      if (waiting.length > 0) awake.notify()
      return true
    },
    fetch(max) {
      // Fetches run one after another, because the latch serves only one waiter.
      const fetched = turn.then(() => fetchNow(max))
      turn = fetched.catch(() => undefined) // the caller of that fetch gets its error
      return fetched
    },
  }
}
