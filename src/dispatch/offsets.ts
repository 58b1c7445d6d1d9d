import type { Pool } from 'pg'
import { step } from '../lib/points.ts'

/** Offsets of the bus, in Postgres for both buses: the first of each partition that is not done. */
export interface Offsets {
  /** Where a partition begins: its saved offset, or 0. Never "latest". */
  startAt(partition: number): Promise<bigint>
  /** Saves forwards only: a save that timed out may land later. */
  save(next: ReadonlyMap<number, bigint>): Promise<void>
  /** All saved ones of this bus. */
  saved(): Promise<Map<number, bigint>>
}

export function createOffsets(pool: Pool, bus: string): Offsets {
  return {
    async startAt(partition) {
      const { rows } = await pool.query<{ next_offset: bigint }>('select next_offset from bus_offsets where bus = $1 and partition = $2', [
        bus,
        partition,
      ])
      return rows[0]?.next_offset ?? 0n
    },
    async save(next) {
      const partitions = [...next.keys()].sort((a, b) => a - b)
      if (partitions.length === 0) return
      const statement = {
        name: 'offsets-save',
        text: `insert into bus_offsets (bus, partition, next_offset)
               select $1, partition, next_offset from unnest($2::int[], $3::bigint[]) as done (partition, next_offset)
               on conflict (bus, partition) do update set next_offset = greatest(bus_offsets.next_offset, excluded.next_offset)`,
        values: [bus, partitions, partitions.map((p) => String(next.get(p)))],
      }
      await step('offsets.save', () => pool.query(statement))
    },
    async saved() {
      const { rows } = await pool.query<{ partition: number; next_offset: bigint }>(
        'select partition, next_offset from bus_offsets where bus = $1',
        [bus],
      )
      return new Map(rows.map((row) => [row.partition, row.next_offset]))
    },
  }
}

/** Which records of one partition are not done yet. Records are added in the order of their offsets. */
export interface OffsetTracker {
  /** Adds a record of `parts` things to be done; answers the function that says that one of them is. */
  add(offset: bigint, parts: number): () => void
  /** The first offset that is not done. */
  readonly next: bigint
  /** Records not done. */
  readonly pending: number
}

export function createOffsetTracker(start: bigint): OffsetTracker {
  interface Entry {
    readonly offset: bigint
    left: number
  }
  let entries: Entry[] = []
  let head = 0
  let next = start
  let pending = 0
  const advance = () => {
    while (head < entries.length && entries[head]!.left === 0) next = entries[head++]!.offset + 1n
    if (head > 1_000 && head * 2 > entries.length) {
      entries = entries.slice(head)
      head = 0
    }
  }
  return {
    get next() {
      return next
    },
    get pending() {
      return pending
    },
    add(offset, parts) {
      const entry: Entry = { offset, left: parts }
      entries.push(entry)
      pending++
      const done = () => {
        if (entry.left === 0) return
        entry.left--
        if (entry.left > 0) return
        pending--
        advance()
      }
      if (parts === 0) {
        pending--
        advance()
      }
      return done
    },
  }
}
