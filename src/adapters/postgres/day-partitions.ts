import type { ClientBase, Pool } from 'pg'
import { dayOf, msPerDay } from '../../lib/days.ts'
import { codeOf } from '../../lib/errors.ts'
import { transaction } from '../../lib/sql.ts'
import { advisoryLocks } from './advisory-locks.ts'

/**
 * The day partitions (`<table>_<yyyymmdd>`) of tables that expire together. Each table is partitioned by range of a date or a timestamptz. Days are
 * in UTC, as `yyyy-mm-dd`.
 */
export interface DayPartitions {
  /**
   * Resolves when these days have partitions. Await it before a statement that writes to the partitions. The partition of the following day
   * is made in the background, so that it exists at midnight. Throws InvalidDay.
   */
  ensure(days: Iterable<string>): Promise<void>
  /**
   * Forgets which days have partitions, because another process may have dropped some. Call it after an error for which
   * `isMissingPartition` is true, and then call `ensure` again.
   */
  forget(): void
  /**
   * Drops the partitions before the day. `mayDrop` is called for each partition while the partition is locked, in the transaction that drops
   * it. A partition that cannot be locked within 0.2 s is left for the next call, because other statements would wait behind the lock.
   * Returns the names of the dropped partitions.
   */
  dropBefore(day: string, mayDrop?: (client: ClientBase, partition: string) => Promise<boolean>): Promise<string[]>
}

class InvalidDay extends Error {
  /** The SQLSTATE with which Postgres refuses an invalid day. It shows that the item is at fault and not the engine. */
  readonly code = '22007'
}

/** Returns whether the error says that a row has no partition. */
export const isMissingPartition = (error: unknown): boolean =>
  error instanceof Error && 'routine' in error && error.routine === 'ExecFindPartition'

/** Returns whether the error is lock_not_available or deadlock_detected. */
const inUse = (error: unknown): boolean => ['55P03', '40P01'].includes(codeOf(error) ?? '')

/**
 * Partitions are not analysed automatically, because the plans of their statements do not depend on statistics. The analysis of growing partitions
 * took 0.5 s of processor time a minute (decision 50). They are still vacuumed.
 */
const withoutStatistics = 'autovacuum_analyze_threshold = 2147483647'

export function createDayPartitions(options: {
  pool: Pool
  /** Names of the tables. A table outside the schema of the connection is named with its schema. */
  tables: readonly string[]
  /** Called when the partition of the following day could not be made in the background. `ensure` then makes it when it is needed. */
  onError(error: unknown): void
}): DayPartitions {
  const { pool, tables, onError } = options
  const existingDays = new Set<string>()
  const making = new Map<string, Promise<void>>()

  // A partition is first created as a table and then attached. The statement `create table ... partition of` would lock the whole table. It would
  // wait for the oldest reader, and all other statements would wait for it.
  const make = (day: string) =>
    transaction(pool, async (client) => {
      await client.query('select pg_advisory_xact_lock($1)', [advisoryLocks.dayPartitions])
      for (const table of tables) {
        const partition = partitionName(table, day)
        const { rows } = await client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [partition])
        if (rows[0]?.there) continue
        await client.query(`create table ${partition} (like ${table} including all) with (${withoutStatistics})`)
        await client.query(
          `alter table ${table} attach partition ${partition} for values from ('${day} 00:00:00+00') to ('${dayAfter(day)} 00:00:00+00')`,
        )
      }
      existingDays.add(day)
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
        if (!existingDays.has(day)) await ensureDay(day)
        const next = dayAfter(day)
        if (!existingDays.has(next)) void ensureDay(next).catch(onError)
      }
    },
    forget() {
      existingDays.clear()
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
      if (dropped.length > 0) existingDays.clear()
      return dropped
    },
  }
}

const partitionName = (table: string, day: string): string => `${table}_${day.replaceAll('-', '')}`

/** Returns a table's partitions for days before `day`, oldest first. The names are quoted for use in statements. */
async function partitionsBefore(pool: Pool, table: string, day: string): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select child.oid::regclass::text as name from pg_inherits join pg_class child on child.oid = inhrelid
     where inhparent = $1::regclass and child.relname < $2 order by child.relname`,
    [table, partitionName(table.slice(table.indexOf('.') + 1), checkedDay(day))],
  )
  return rows.map((row) => row.name)
}

/** Checks a day, because the day becomes a part of statements. Throws InvalidDay. */
function checkedDay(day: string): string {
  const time = Date.parse(`${day}T00:00:00.000Z`)
  if (!/^[12]\d{3}-\d\d-\d\d$/.test(day) || Number.isNaN(time) || dayOf(time) !== day)
    throw new InvalidDay(`not a day: ${JSON.stringify(day.slice(0, 40))}`)
  return day
}
/** Returns the day that follows a day (`yyyy-mm-dd`). */
export const dayAfter = (day: string): string => dayOf(Date.parse(`${day}T00:00:00.000Z`) + msPerDay)
