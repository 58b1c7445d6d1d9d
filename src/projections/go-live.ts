import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import { type Build, lockBuilds, lockName, schemaOf, showViews } from './builds.ts'
import { compareTables, type Difference } from './compare-tables.ts'
import type { Projection } from './projection.ts'

/**
 * Makes a build the live build by switching views and `is_live` in one transaction. Meanwhile the old live build is locked, and `catchUp`
 * brings the new build to the same checkpoint, so that no reader sees less than before. Without the lock, a busy live build would always be
 * ahead. Returns false when `catchUp` does not succeed, or when the build was dropped or is older than the live build.
 *
 * A new build of the same version must have the same rows as the live build, because both come from the same events. Each row that differs is
 * reported, because the live build was then changed by SQL, or the code has a fault.
 *
 * With `externalBuilds`, the new build continues at the checkpoint of the former live build, even if it was ahead. It also takes over the quarantined
 * streams of the former build, because every event that the former build has not applied must still be applied. `catchUp` is then always called, and
 * reads to the head of the store, because the rows of the live build may be ahead of its checkpoint (see `isLiveAfterSwitching`).
 *
 * The wait for locks on views is shorter than Postgres's `deadlock_timeout`. A reader of two views and this switch can block each other. The switch
 * must then fail (55P03) and be tried again, so that the reader does not fail.
 *
 * @param isSame returns whether no event of the projection lies after the first checkpoint and up to the second one
 */
export async function goLive(
  pool: Pool,
  projection: Projection,
  build: number,
  catchUp: (checkpoint: Checkpoint | null) => Promise<boolean>,
  onDifference: (difference: Difference) => void = () => {},
  isSame: (after: Checkpoint | null, upTo: Checkpoint | null) => Promise<boolean> = async () => false,
): Promise<boolean> {
  const { name } = projection
  return transaction(pool, async (client) => {
    await client.query(`set local lock_timeout = '5s'`)
    await lockBuilds(client, name)
    const sql = sqlOn(client)
    const [live] = await sql<{ build: number; version: number; checkpoint: Checkpoint | null }>`
      select build, version, checkpoint from projections where name = ${name} and is_live for update`
    const readBuild = async () =>
      (await sql<{ checkpoint: Checkpoint | null }>`select checkpoint from projections where name = ${name} and build = ${build}`)[0]
    const candidate = await readBuild()
    // A former live build runs until it is dropped. It must not become live again in place of the newer build.
    if (candidate === undefined || (live !== undefined && live.build > build)) return false
    if (live?.build === build) return true
    const liveCheckpoint = live?.checkpoint ?? null
    const hasExternalBuilds = projection.externalBuilds !== undefined
    if (hasExternalBuilds || (candidate.checkpoint ?? '') < (liveCheckpoint ?? '')) {
      if (!(await catchUp(liveCheckpoint))) return false
      if (((await readBuild())?.checkpoint ?? '') < (liveCheckpoint ?? '')) return false
    }
    if (projection.checkBuild !== undefined) {
      await client.query(`set local search_path to ${schemaOf(projection, build)}, public`)
      await projection.checkBuild(sql)
      await client.query('set local search_path to default')
    }
    // Both builds must have the same rows only if they have applied the same events. If events arrive at this moment, the new build may be ahead.
    const checkpoint = (await readBuild())?.checkpoint ?? null
    const isComparable =
      live?.version === projection.version && (checkpoint === liveCheckpoint || (await isSame(liveCheckpoint, checkpoint)))
    if (isComparable) await compareTables(client, projection, live.build, build, onDifference)
    await client.query(`set local lock_timeout = '200ms'`)
    await showViews(client, projection, schemaOf(projection, build))
    // The old build loses `is_live` first, because an index allows only one live build of a projection.
    await sql`update projections set is_live = false where name = ${name} and is_live`
    await sql`update projections set is_live = true where name = ${name} and build = ${build}`
    if (hasExternalBuilds && live !== undefined) {
      await sql`update projections set applied_to = checkpoint, checkpoint = ${liveCheckpoint} where name = ${name} and build = ${build}`
      await sql`
        insert into quarantined_streams as own (projection, build, stream, revision, event_id, position, error, since)
        select projection, ${build}::int, stream, revision, event_id, position, error, since
        from quarantined_streams where projection = ${name} and build = ${live.build}
        on conflict (projection, build, stream) do update
          set revision = excluded.revision, event_id = excluded.event_id, position = excluded.position, error = excluded.error
          where excluded.revision < own.revision`
    }
    return true
  })
}

/**
 * Waits for a switch in progress, and returns whether this build is still the live build. The runner of a live build calls this function before it
 * writes a batch to its external rows. So no batch that is read during a switch is written to the former build. Otherwise a reader who has seen the
 * batch there could see less in the new build.
 */
export async function isLiveAfterSwitching(pool: Pool, name: string, build: number): Promise<boolean> {
  await pool.query('select pg_advisory_xact_lock_shared(hashtextextended($1, 0))', [lockName(name)])
  // The state is read in a second statement, because the snapshot of the first statement is older than its lock.
  const [row] = await sqlOn(pool)<Pick<Build, 'is_live'>>`select is_live from projections where name = ${name} and build = ${build}`
  return row?.is_live === true
}
