import { randomInt } from 'node:crypto'
import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import type { StreamName } from '../events/streams.ts'
import { sqlOn } from '../lib/sql.ts'
import type { EventStore } from '../ports/event-store.ts'
import { eventsUpTo } from '../ports/events-up-to.ts'
import { applyWithSavepoint, useSchemaOf } from './apply-batch.ts'
import { schemaOf } from './builds.ts'
import { compareTables, type Difference } from './compare-tables.ts'
import { isEngineError, isolateFaulty } from './faulty-events.ts'
import type { Projection } from './projection.ts'

/** Seconds that one table may take. Nothing waits for this comparison. */
const maxSeconds = 600

/**
 * Compares the tables of a read model with the events. It builds the tables again in a transaction that is rolled back, so readers and the projection
 * are not disturbed, and nothing stays. Returns false if the live build is of another version, so that nothing can be compared.
 */
export async function checkTables(
  { pool, store }: { pool: Pool; store: Pick<EventStore, 'subscribe' | 'head'> },
  projection: Projection,
  report: (difference: Difference) => void,
): Promise<boolean> {
  const { name, families, tables, version } = projection
  const client = await pool.connect()
  const sql = sqlOn(client)
  try {
    // All reads of the live tables see the state at the same checkpoint.
    await client.query('begin isolation level repeatable read')
    const [live] = await sql<{ build: number; version: number; checkpoint: Checkpoint | null }>`
      select build, version, checkpoint from public.projections where name = ${name} and is_live`
    if (live === undefined || live.version !== version || tables === undefined) return false
    const quarantined = await sql<{ stream: StreamName; position: Checkpoint }>`
      select stream, position from public.quarantined_streams where projection = ${name} and build = ${live.build}`
    const waitsFrom = new Map(quarantined.map(({ stream, position }) => [stream, position]))
    // The number is far above that of any real build.
    const build = randomInt(2 ** 40, 2 ** 41)
    await client.query(`create schema ${schemaOf(projection, build)}`)
    await useSchemaOf(client, projection, build)
    await client.query(tables)
    const apply = applyWithSavepoint(client, projection, { build, is_live: false, applied_to: null })
    const head = await store.head(families)
    const upTo = live.checkpoint !== null && head !== null && live.checkpoint < head ? live.checkpoint : head
    for await (const events of eventsUpTo(store, { families, after: null, upTo: live.checkpoint === null ? null : upTo })) {
      const applied = events.filter(({ stream, position }) => position < (waitsFrom.get(stream) ?? '~'))
      if (applied.length > 0) await isolateFaulty(apply, applied, (error) => !isEngineError(error))
    }
    await compareTables(client, projection, live.build, build, report, { maxSeconds, mustEnd: true })
    return true
  } finally {
    // This fails only if the connection is lost, and then Postgres has rolled back by itself.
    await client.query('rollback').catch(() => undefined)
    client.release()
  }
}
