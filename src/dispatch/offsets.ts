import type { Pool } from 'pg'
import { step } from '../events/steps.ts'

/** The saved offsets of one bus: for each partition, the offset of the first record that is not done. They are in Postgres for every bus. */
export interface Offsets {
  /** Returns the offset to start a partition at: the saved one, or else 0. A start at the end of the partition would skip accepted messages. */
  startAt(partition: number): Promise<bigint>
  /** Saves offsets. An offset lower than the saved one changes nothing, because a save that timed out may take effect late. */
  save(next: ReadonlyMap<number, bigint>): Promise<void>
  /** Returns all saved offsets of this bus. */
  saved(): Promise<Map<number, bigint>>
}

export function createOffsets(pool: Pool, bus: string): Offsets {
  return {
    async startAt(partition) {
      const { rows } = await pool.query<{ next_offset: bigint }>({
        name: 'offsets-start',
        text: 'select next_offset from bus_offsets where bus = $1 and partition = $2',
        values: [bus, partition],
      })
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
        values: [bus, partitions, partitions.map((partition) => String(next.get(partition)))],
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

/** Tracks which records of one partition are done. Records are added in the order of their offsets, and done in any order. */
export interface OffsetTracker {
  /** Adds a record. Returns the function that marks it as done. */
  add(offset: bigint): () => void
  /** The offset of the first record that is not done. */
  readonly next: bigint
}

export function createOffsetTracker(start: bigint): OffsetTracker {
  let entries: { readonly offset: bigint; isDone: boolean }[] = []
  /** Index of the first entry that is not done. */
  let head = 0
  let next = start
  return {
    get next() {
      return next
    },
    add(offset) {
      const entry = { offset, isDone: false }
      entries.push(entry)
      return () => {
        entry.isDone = true
        while (head < entries.length && entries[head]!.isDone) next = entries[head++]!.offset + 1n
        if (head <= 1_000 || head * 2 <= entries.length) return
        entries = entries.slice(head)
        head = 0
      }
    },
  }
}
