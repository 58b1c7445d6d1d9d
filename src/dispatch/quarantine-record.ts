import type { Pool } from 'pg'
import { describeError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { untilDone } from '../lib/retry.ts'
import type { DispatchMetrics } from './metrics.ts'

export interface QuarantineDeps {
  readonly pool: Pool
  readonly metrics: Pick<DispatchMetrics, 'quarantined'>
  readonly log: Log
}
/** Identifies a record of one bus. */
interface RecordRef {
  readonly bus: string
  readonly partition: number
  readonly offset: bigint
}

/**
 * Writes a record that cannot be decoded or routed to `quarantined_records`, with the error. Retries until this succeeds. A second write of the same
 * record changes nothing.
 */
export async function quarantineRecord({ pool, metrics, log }: QuarantineDeps, record: RecordRef, error: unknown): Promise<void> {
  const { bus, partition, offset } = record
  metrics.quarantined.inc()
  log.error({ error, partition, offset: String(offset) }, 'record.quarantined')
  const statement = {
    name: 'records-quarantine',
    text: `insert into quarantined_records (bus, partition, record_offset, error) values ($1, $2, $3, $4)
           on conflict (bus, partition, record_offset) do nothing`,
    values: [bus, partition, offset, describeError(error)],
  }
  await untilDone(() => pool.query(statement), {
    onError: (cause, delayMs) => log.warn({ error: cause, delayMs }, 'record.quarantine_failed'),
  })
}
