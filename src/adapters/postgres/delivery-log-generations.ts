import type { Pool } from 'pg'
import type { Log } from '../../lib/log.ts'
import { transaction } from '../../lib/sql.ts'
import type { DeliveryHistory } from '../../ports/delivery-log.ts'
import { createDayPartitions, type DayPartitions } from './day-partitions.ts'
import { deliveryQueries } from './delivery-log-queries.ts'
import { factWriter } from './delivery-log-record.ts'

interface Generation {
  readonly days: DayPartitions
  readonly history: DeliveryHistory
}
/** The generations of the history, each with tables and a function of its own in a schema of its own. */
export interface Generations {
  open(generation: number): DeliveryHistory
  make(generation: number): Promise<void>
  drop(generation: number): Promise<void>
  /** Drops the days before this one of all that there are; answers the names of the dropped partitions. */
  dropDaysBefore(day: string): Promise<string[]>
}

const schemaOf = (generation: number): string => {
  if (!Number.isSafeInteger(generation) || generation < 1) throw new RangeError(`not a generation of the history: ${generation}`)
  return generation === 1 ? 'public' : `delivery_history_${generation}`
}
const schemaPattern = /^delivery_history_(\d+)$/

export function historyGenerations({ pool, readers, log }: { pool: Pool; readers: Pool; log: Log }): Generations {
  const opened = new Map<number, Generation>()
  const open = (generation: number): Generation => {
    const schema = schemaOf(generation)
    const days = createDayPartitions({
      pool,
      tables: [`${schema}.deliveries`, `${schema}.attempts`],
      onError: (error) => log.warn({ error, generation }, 'delivery_log.day_not_made_ahead'),
    })
    return { days, history: { ...deliveryQueries(readers, schema), record: factWriter(pool, schema, days) } }
  }
  const cached = (generation: number): Generation => {
    const found = opened.get(generation) ?? open(generation)
    opened.set(generation, found)
    return found
  }
  const standing = async (): Promise<number[]> => {
    const { rows } = await pool.query<{ schema: string }>(
      `select relnamespace::regnamespace::text as schema from pg_class where relname = 'deliveries' and relkind = 'p'`,
    )
    return rows.flatMap(({ schema }) => (schema === 'public' ? [1] : (schemaPattern.exec(schema)?.slice(1).map(Number) ?? [])))
  }
  return {
    open: (generation) => cached(generation).history,
    async make(generation) {
      await pool.query('select make_delivery_history($1, $2)', ['delivery_history', schemaOf(generation)])
    },
    async drop(generation) {
      const schema = schemaOf(generation)
      await transaction(pool, async (client) => {
        // Less long than Postgres takes to look for deadlocks: it is this that gives up and not a reader.
        await client.query(`set local lock_timeout = '200ms'`)
        if (generation > 1) await client.query(`drop schema if exists ${schema} cascade`)
        else await client.query('drop table if exists public.deliveries, public.attempts; drop function if exists public.record_facts')
      })
      opened.delete(generation)
    },
    async dropDaysBefore(day) {
      const dropped: string[] = []
      for (const generation of (await standing()).sort((a, b) => a - b)) dropped.push(...(await cached(generation).days.dropBefore(day)))
      return dropped
    },
  }
}
