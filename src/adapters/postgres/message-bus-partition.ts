import { performance } from 'node:perf_hooks'
import { createBackoff, pause } from '../../lib/retry.ts'
import { createWake } from '../../lib/wake.ts'
import type { BusRecord } from '../../ports/message-bus.ts'

/** The queries of one partition. */
export interface PartitionReader {
  /**
   * Reads the records after the offset `known`, in order, up to and including `through` if it is not null. `complete` means that these are
   * all such records.
   */
  read(known: bigint, through: bigint | null): Promise<{ records: BusRecord[]; complete: boolean }>
  /** Returns the offset up to which no further record can appear, or null when no offset was ever assigned. */
  settled(): Promise<bigint | null>
  onError(error: unknown, delayMs: number): void
}
/**
 * One owned partition, as its consumer reads it. Every record is returned once and in order. Records that this process has produced are
 * returned from memory.
 */
export interface PartitionView {
  /** Whether a record that is passed on now would be returned from memory, unless the memory overflows first. */
  readonly passes: boolean
  /**
   * Announces that this process is about to produce, so that a poll that sees the new offsets starts no read. Call the returned function when the
   * record is written.
   */
  producing(): () => void
  /** Takes records that this process has just committed. They follow the offset `previous` without a gap. */
  passOn(previous: bigint, records: readonly BusRecord[]): void
  /**
   * Takes the newest offset of the partition, and compares it with the records that fetches have returned.
   * - `unread`: the database has further records.
   * - `read`: it has none.
   * - `undecided`: the caller must ask again, because this process is producing or has records in memory.
   */
  seen(offset: bigint): 'read' | 'unread' | 'undecided'
  fetch(max: number): Promise<BusRecord[]>
}

/**
 * The source of the records that follow those in memory.
 * - `passing`: `passOn` hands over the records that this process produces, and polls report the records of other processes. The database has
 *   no other records.
 * - `unread`: the database may have more records (at the start, or because a poll has seen them). The next fetch reads them when memory is
 *   empty. Records that are passed on meanwhile are kept in memory behind the records that are read.
 * - `readingBack`: memory overflowed, or a read did not reach the end. Records that are passed on are ignored and read from the database
 *   later, until a read reaches the end.
 */
type Mode = 'passing' | 'unread' | 'readingBack'

/** A run of records in memory. It has every record between the offsets `previous` and `through`. */
interface Run {
  readonly previous: bigint
  readonly through: bigint
  readonly records: readonly BusRecord[]
  /** Index of the first record that no fetch has returned. */
  next: number
}

/** Runs in the order of their offsets. Gaps between them are read from the database. */
class Memory {
  #runs: Run[] = []
  #records = 0
  #bytes = 0
  readonly #max: { readonly records: number; readonly bytes: number }

  constructor(max: { readonly records: number; readonly bytes: number }) {
    this.#max = max
  }
  get first(): Run | undefined {
    return this.#runs[0]
  }
  get isOverfull(): boolean {
    return this.#records > this.#max.records || this.#bytes > this.#max.bytes
  }
  append(run: Run): void {
    this.#count(run)
    this.#runs.push(run)
  }
  prepend(run: Run): void {
    this.#count(run)
    this.#runs.unshift(run)
  }
  clear(): void {
    this.#runs = []
    this.#records = 0
    this.#bytes = 0
  }
  /** Returns the next record of a run. The run must have one left. */
  next(run: Run): BusRecord {
    const record = run.records[run.next++]!
    this.#records--
    this.#bytes -= record.bytes.length
    return record
  }
  shift(): void {
    this.#runs.shift()
  }
  #count(run: Run): void {
    for (const record of run.records) this.#bytes += record.bytes.length
    this.#records += run.records.length
  }
}

interface PartitionViewOptions {
  readonly startAt: bigint
  readonly reader: PartitionReader
  readonly lost: AbortSignal
  /** Milliseconds after which a fetch without records returns. */
  readonly waitMs: number
  /** Limits of the records in memory. Beyond them, the records are dropped and read from the database later. */
  readonly maxHeld: { records: number; bytes: number }
}

export const createPartitionView = (options: PartitionViewOptions): PartitionView => new View(options)

class View implements PartitionView {
  readonly #reader: PartitionReader
  readonly #lost: AbortSignal
  readonly #waitMs: number
  readonly #memory: Memory
  readonly #awake = createWake()
  readonly #failures = createBackoff()
  /** Fetches have returned every record up to this offset. */
  #known: bigint
  #mode: Mode = 'unread'
  /**
   * This field is used in the mode `readingBack`. It is true when records were passed on after the last read began, so that the read may have
   * missed them.
   */
  #hasMissed = false
  #producing = 0
  /** Settles with the last fetch. The next fetch waits for it, because two fetches at the same time would return the same records. */
  #lastFetch: Promise<unknown> = Promise.resolve()

  constructor({ startAt, reader, lost, waitMs, maxHeld }: PartitionViewOptions) {
    this.#known = startAt - 1n
    this.#reader = reader
    this.#lost = lost
    this.#waitMs = waitMs
    this.#memory = new Memory(maxHeld)
  }

  get passes(): boolean {
    return this.#mode !== 'readingBack'
  }
  producing(): () => void {
    this.#producing++
    return () => {
      this.#producing--
    }
  }
  passOn(previous: bigint, records: readonly BusRecord[]): void {
    if (this.#mode === 'readingBack') {
      this.#hasMissed = true
      return
    }
    this.#memory.append({ previous, through: records.at(-1)?.offset ?? previous, records, next: 0 })
    if (this.#memory.isOverfull) {
      this.#memory.clear()
      this.#mode = 'readingBack'
      this.#hasMissed = true
    }
    this.#awake.notify()
  }
  seen(offset: bigint): 'read' | 'unread' | 'undecided' {
    if (offset <= this.#known) return 'read'
    if (this.#memory.first !== undefined || this.#producing > 0) return 'undecided'
    if (this.#mode === 'readingBack') this.#hasMissed = true
    if (this.#mode === 'passing') {
      this.#mode = 'unread'
      this.#awake.notify()
    }
    return 'unread'
  }
  fetch(max: number): Promise<BusRecord[]> {
    const records = this.#lastFetch.then(() => this.#fetchNext(max))
    this.#lastFetch = records.catch(() => undefined) // the caller of that fetch gets the error
    return records
  }

  async #fetchNext(max: number): Promise<BusRecord[]> {
    const end = performance.now() + this.#waitMs
    while (!this.#lost.aborted) {
      const records = this.#take(max)
      if (records.length > 0) return records
      const remaining = end - performance.now()
      if (remaining <= 0) break
      const nextRun = this.#memory.first
      try {
        if (nextRun !== undefined) await this.#readUpTo(nextRun.previous)
        else if (this.#mode !== 'passing') await this.#readOn()
        else {
          await this.#awake.wait(remaining, this.#lost)
        }
        this.#failures.reset()
      } catch (error) {
        this.#markUnread()
        const delay = this.#failures.next()
        this.#reader.onError(error, delay)
        await pause(delay, this.#lost)
      }
    }
    return []
  }
  /** Takes records from memory, up to the first gap. */
  #take(max: number): BusRecord[] {
    const taken: BusRecord[] = []
    for (let run = this.#memory.first; run !== undefined && run.previous <= this.#known && taken.length < max; run = this.#memory.first) {
      while (run.next < run.records.length && taken.length < max) {
        const record = this.#memory.next(run)
        if (record.offset <= this.#known) continue // the record was passed on and also read
        taken.push(record)
        this.#known = record.offset
      }
      if (run.next < run.records.length) break
      this.#memory.shift()
      if (run.through > this.#known) this.#known = run.through
    }
    return taken
  }
  /** Reads the gap up to `through`, in which no more records can appear. */
  async #readUpTo(through: bigint): Promise<void> {
    const previous = this.#known
    const { records, complete } = await this.#reader.read(previous, through)
    if (!complete) this.#markUnread()
    this.#memory.prepend({ previous, through: complete ? through : (records.at(-1)?.offset ?? previous), records, next: 0 })
  }
  /** Reads the records after the last known record. */
  async #readOn(): Promise<void> {
    this.#beginReading()
    const previous = this.#known
    const { records, complete } = await this.#reader.read(previous, null)
    const isAtEnd = complete && !this.#hasMissed && this.#mode !== 'unread'
    this.#mode = isAtEnd ? 'passing' : 'readingBack'
    const last = records.at(-1)
    if (last !== undefined) return this.#memory.prepend({ previous, through: last.offset, records, next: 0 })
    // The read returned nothing although offsets were assigned: either a produce is in flight, or a rollback has left a gap. A gap is skipped here.
    const settled = await this.#reader.settled()
    if (settled !== null && settled > this.#known) await this.#readUpTo(settled)
  }
  #beginReading(): void {
    this.#hasMissed = false
    // The mode is set before the read returns, so that records that are passed on meanwhile are kept.
    if (this.#mode === 'unread') this.#mode = 'passing'
  }
  #markUnread(): void {
    if (this.#mode === 'passing') this.#mode = 'unread'
  }
}
