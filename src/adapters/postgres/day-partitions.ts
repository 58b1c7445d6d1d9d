import type { ClientBase, Pool } from 'pg'
import { codeOf } from '../../lib/errors.ts'
import { transaction } from '../../lib/sql.ts'
import { advisoryLocks } from './advisory-locks.ts'

/**
 * The day partitions (`<table>_<yyyymmdd>`) of tables that age together, each partitioned by range of a date or a
 * timestamptz. Days are UTC, `yyyy-mm-dd`.
 */
export interface DayPartitions {
  /**
   * Resolves when there are partitions for these days; to be awaited before the statement that writes to them. At once for
   * days that are known. The day after each is made in the background, so that midnight finds its partition.
   * Throws InvalidDay.
   */
  ensure(days: Iterable<string>): Promise<void>
  /** Forgets which days are there: others drop them. After an error that `isMissingPartition`, before `ensure` and one more try. */
  forget(): void
  /**
   * Drops the partitions before the day, each unless `mayDrop` (asked in the dropping transaction, under its lock) says no.
   * One that is in use for longer than a fifth of a second is left for the next time: waiting for its lock would stall
   * everybody else. Answers the names of those dropped.
   */
  dropBefore(day: string, mayDrop?: (client: ClientBase, partition: string) => Promise<boolean>): Promise<string[]>
}

export class InvalidDay extends Error {
  /** SQLSTATE: it is the item's own fault, as when Postgres had refused it. */
  readonly code = '22007'
}

/** Whether a row found no partition to go to. */
export const isMissingPartition = (error: unknown): boolean =>
  error instanceof Error && 'routine' in error && error.routine === 'ExecFindPartition'

/** SQLSTATE lock_not_available and deadlock_detected. */
const inUse = (error: unknown): boolean => ['55P03', '40P01'].includes(codeOf(error) ?? '')

export function createDayPartitions(options: {
  pool: Pool
  /** With their schema where that is not the connection's. */
  tables: readonly string[]
  /** Told when the day after could not be made ahead; it is made when it is needed, then. */
  onError(error: unknown): void
}): DayPartitions {
  const { pool, tables, onError } = options
  const known = new Set<string>()
  const making = new Map<string, Promise<void>>()

  // Attached, not created in place (`partition of`): that would lock the whole table against everybody, and stand behind
  // the oldest reader with all others behind it.
  const make = (day: string) =>
    transaction(pool, async (client) => {
      await client.query('select pg_advisory_xact_lock($1)', [advisoryLocks.dayPartitions])
      for (const table of tables) {
        const partition = partitionName(table, day)
        const { rows } = await client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [partition])
        if (rows[0]?.there) continue
        await client.query(`create table ${partition} (like ${table} including all)`)
        await client.query(
          `alter table ${table} attach partition ${partition} for values from ('${day} 00:00:00+00') to ('${dayAfter(day)} 00:00:00+00')`,
        )
      }
      known.add(day)
    })
  const ensureDay = async (day: string): Promise<void> => {
    const pending = making.get(day) ?? make(checkedDay(day)).finally(() => making.delete(day))
    making.set(day, pending)
    await pending
  }

  return {
    async ensure(days) {
      const needed = new Set(days)
      for (const day of needed) {
        if (!known.has(day)) await ensureDay(day)
        const next = dayAfter(day)
        if (!known.has(next)) void ensureDay(next).catch(onError)
      }
    },
    forget() {
      known.clear()
    },
    async dropBefore(day, mayDrop = async () => true) {
      const dropped: string[] = []
      for (const table of tables)
        for (const partition of await partitionsBefore(pool, table, day))
          try {
            const done = await transaction(pool, async (client) => {
              await client.query(`set local lock_timeout = '200ms'`)
              await client.query(`lock table only ${table}, ${partition} in access exclusive mode`)
              if (!(await mayDrop(client, partition))) return false
              await client.query(`drop table ${partition}`)
              return true
            })
            if (done) dropped.push(partition)
          } catch (error) {
            if (!inUse(error)) throw error
          }
      if (dropped.length > 0) known.clear()
      return dropped
    },
  }
}

const partitionName = (table: string, day: string): string => `${table}_${day.replaceAll('-', '')}`

/** A table's partitions for days before this one, oldest first, named as statements may name them. */
async function partitionsBefore(pool: Pool, table: string, day: string): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select child.oid::regclass::text as name from pg_inherits join pg_class child on child.oid = inhrelid
     where inhparent = $1::regclass and child.relname < $2 order by child.relname`,
    [table, partitionName(table.slice(table.indexOf('.') + 1), checkedDay(day))],
  )
  return rows.map((row) => row.name)
}

/** It becomes a part of statements. */
function checkedDay(day: string): string {
  const time = Date.parse(`${day}T00:00:00.000Z`)
  if (!/^[12]\d{3}-\d\d-\d\d$/.test(day) || Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== day)
    throw new InvalidDay(`not a day: ${JSON.stringify(day.slice(0, 40))}`)
  return day
}
const dayAfter = (day: string): string => new Date(Date.parse(`${day}T00:00:00.000Z`) + 86_400_000).toISOString().slice(0, 10)
