import type { Pool } from 'pg'
import type { RecordedEvent } from '../../events/envelope.ts'
import type { Log } from '../../lib/log.ts'
import { transaction } from '../../lib/sql.ts'
import type { DeliveryHistory } from '../../ports/delivery-log.ts'
import { createDayPartitions, type DayPartitions } from './day-partitions.ts'
import { createDeliveryQueries } from './delivery-log-queries.ts'
import { createFactWriter } from './delivery-log-record.ts'

interface HistoryBuild {
  readonly days: DayPartitions
  readonly history: DeliveryHistory
}
/** The builds of the history. Each build has its tables and its function in a separate schema. */
interface HistoryBuilds {
  open(build: number): DeliveryHistory
  make(build: number): Promise<void>
  drop(build: number): Promise<void>
  /** Drops, in every build, the partitions whose accepted_at is before this day. Returns their names. */
  dropDaysBefore(day: string): Promise<string[]>
}

const schemaOf = (build: number): string => {
  if (!Number.isSafeInteger(build) || build < 1) throw new RangeError(`not a build of the history: ${build}`)
  return build === 1 ? 'public' : `delivery_history_${build}`
}
const schemaPattern = /^delivery_history_(\d+)$/

interface HistoryBuildsOptions {
  readonly pool: Pool
  readonly readers: Pool
  /** Whether the events of first successes are a part of every build. */
  readonly readsEvents: boolean
  isForged(event: RecordedEvent): boolean
  readonly log: Log
}
export function createHistoryBuilds({ pool, readers, readsEvents, isForged, log }: HistoryBuildsOptions): HistoryBuilds {
  const opened = new Map<number, HistoryBuild>()
  const open = (build: number): HistoryBuild => {
    const schema = schemaOf(build)
    const days = createDayPartitions({
      pool,
      tables: [`${schema}.deliveries`, `${schema}.attempts`],
      onError: (error) => log.warn({ error, build }, 'delivery_log.day_not_made_ahead'),
    })
    const queries = createDeliveryQueries({ pool: readers, schema, readsEvents, isForged })
    return { days, history: { ...queries, record: createFactWriter({ pool, schema, days, readsEvents }) } }
  }
  const cached = (build: number): HistoryBuild => {
    const historyBuild = opened.get(build) ?? open(build)
    opened.set(build, historyBuild)
    return historyBuild
  }
  const existing = async (): Promise<number[]> => {
    const { rows } = await pool.query<{ schema: string }>(
      `select relnamespace::regnamespace::text as schema from pg_class where relname = 'deliveries' and relkind = 'p'`,
    )
    return rows.flatMap(({ schema }) => (schema === 'public' ? [1] : (schemaPattern.exec(schema)?.slice(1).map(Number) ?? [])))
  }
  return {
    open: (build) => cached(build).history,
    async make(build) {
      await pool.query('select make_delivery_history($1, $2)', ['delivery_history', schemaOf(build)])
    },
    async drop(build) {
      const schema = schemaOf(build)
      await transaction(pool, async (client) => {
        // The time-out is shorter than Postgres's deadlock_timeout. So in a deadlock this statement fails, and not the statement of a reader.
        await client.query(`set local lock_timeout = '200ms'`)
        if (build > 1) await client.query(`drop schema if exists ${schema} cascade`)
        else await client.query('drop table if exists public.deliveries, public.attempts; drop function if exists public.record_facts')
      })
      opened.delete(build)
    },
    async dropDaysBefore(day) {
      const dropped: string[] = []
      for (const build of (await existing()).sort((a, b) => a - b)) dropped.push(...(await cached(build).days.dropBefore(day)))
      return dropped
    },
  }
}
