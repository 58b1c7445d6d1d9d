import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import { type Build, lockBuilds, lockName, schemaOf, showViews } from './builds.ts'
import type { Projection } from './projection.ts'

/**
 * Makes a build the live one: views and `is_live` in one transaction. The live build stands still meanwhile, and `catchUp`
 * brings this one to where it stands, so that no reader sees less than before: without that a busy projection would
 * always be a step ahead. False when that did not succeed, or when the build is older than the live one, or gone.
 *
 * With `copies` the build then goes on where the live one stood, also where it was ahead, and has its quarantined streams
 * set aside too: what the live one has not applied is still to happen. And `catchUp` is always asked, since the live one's
 * copy may hold more than its checkpoint says: it is to go to whatever has been appended by then (`isLiveAfterSwitching`).
 *
 * Locks on views are waited for less long than Postgres takes to look for deadlocks: a reader of two views and the switch
 * may stand in each other's way, and it must be the switch that gives up (55P03, tried again) and not the reader.
 */
export async function goLive(
  pool: Pool,
  projection: Projection,
  build: number,
  catchUp: (to: Checkpoint | null) => Promise<boolean>,
): Promise<boolean> {
  const { name } = projection
  return transaction(pool, async (client) => {
    await client.query(`set local lock_timeout = '5s'`)
    await lockBuilds(client, name)
    const sql = sqlOn(client)
    const [live] = await sql<{ build: number; checkpoint: Checkpoint | null }>`
      select build, checkpoint from projections where name = ${name} and is_live for update`
    const checkpointOf = async () =>
      (await sql<{ checkpoint: Checkpoint | null }>`select checkpoint from projections where name = ${name} and build = ${build}`)[0]
    const mine = await checkpointOf()
    // A build that was live goes on until it is dropped: it must not take its place back from the one that followed it.
    if (mine === undefined || (live !== undefined && live.build > build)) return false
    if (live?.build === build) return true
    const to = live?.checkpoint ?? null
    const hasCopies = projection.copies !== undefined
    if (hasCopies || (mine.checkpoint ?? '') < (to ?? '')) {
      if (!(await catchUp(to))) return false
      if (((await checkpointOf())?.checkpoint ?? '') < (to ?? '')) return false
    }
    await client.query(`set local lock_timeout = '200ms'`)
    await showViews(client, projection, schemaOf(projection, build))
    // In this order: only one build of a name may be live at any moment.
    await sql`update projections set is_live = false where name = ${name} and is_live`
    await sql`update projections set is_live = true where name = ${name} and build = ${build}`
    if (hasCopies && live !== undefined) {
      await sql`update projections set checkpoint = ${to} where name = ${name} and build = ${build}`
      await sql`
        insert into quarantined_streams as mine (projection, build, stream, revision, event_id, position, error, since)
        select projection, ${build}::int, stream, revision, event_id, position, error, since
        from quarantined_streams where projection = ${name} and build = ${live.build}
        on conflict (projection, build, stream) do update
          set revision = excluded.revision, event_id = excluded.event_id, position = excluded.position, error = excluded.error
          where excluded.revision < mine.revision`
    }
    return true
  })
}

/**
 * Resolves when no build of the projection is about to go live, and answers whether this one is still the live one. Asked before a live build
 * writes a batch to its copy: the batch was then read before any later switch began, and the next build has it too by the end of that. What was read
 * during a switch must not be written to a copy that has lost its place: who reads it then, having asked just before, would see more than later.
 */
export async function isLiveAfterSwitching(pool: Pool, name: string, build: number): Promise<boolean> {
  await pool.query('select pg_advisory_xact_lock_shared(hashtextextended($1, 0))', [lockName(name)])
  // A statement of its own: what the first one sees is from before it had the lock.
  const [row] = await sqlOn(pool)<Pick<Build, 'is_live'>>`select is_live from projections where name = ${name} and build = ${build}`
  return row?.is_live === true
}
