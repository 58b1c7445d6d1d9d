import type { Pool } from 'pg'
import type { Log } from '../../lib/log.ts'
import type { DeliveryLog } from '../../ports/delivery-log.ts'
import { dayPartitions } from './day-partitions.ts'
import { busPayloads, ownPayloads } from './delivery-log-payloads.ts'
import { deliveryQueries } from './delivery-log-queries.ts'
import { factWriter } from './delivery-log-record.ts'

export interface PostgresDeliveryLogOptions {
  readonly pool: Pool
  readonly identity: string
  /** `bus`: the rows of the Postgres bus, in this same database, are the archive; `own`: a table of this log's. */
  readonly payloadsIn: 'bus' | 'own'
  readonly log: Log
}
export interface PostgresDeliveryLog extends DeliveryLog {
  /** Drops the days of accepted_at before this one (`yyyy-mm-dd`), and answers the names of the dropped partitions. */
  dropDaysBefore(day: string): Promise<string[]>
}

/** Payload archive and delivery history as tables of Postgres, partitioned by the day on which the message was accepted. */
export async function postgresDeliveryLog(options: PostgresDeliveryLogOptions): Promise<PostgresDeliveryLog> {
  const { pool, identity, payloadsIn, log } = options
  const days = dayPartitions({
    pool,
    tables: ['deliveries', 'attempts', ...(payloadsIn === 'own' ? ['payloads'] : [])],
    onError: (error) => log.warn({ error }, 'delivery_log.day_not_made_ahead'),
  })
  await days.ensure([new Date().toISOString().slice(0, 10)])
  const archive = payloadsIn === 'own' ? ownPayloads(pool, days) : busPayloads(pool, log)
  const underWay = new Set<Promise<unknown>>()
  const tracked = <T>(work: Promise<T>): Promise<T> => {
    underWay.add(work)
    return work.finally(() => underWay.delete(work))
  }
  const record = factWriter(pool, days)
  return {
    identity,
    ...deliveryQueries(pool),
    payloads: archive.payloads,
    archive: (payloads) => tracked(archive.archive(payloads)),
    record: (facts) => tracked(record(facts)),
    dropDaysBefore: (day) => days.dropBefore(day),
    async close() {
      await Promise.allSettled(underWay)
    },
  }
}
