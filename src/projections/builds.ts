import type { ClientBase, Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import type { Projection } from './projection.ts'

/**
 * A projection as it stands in the database: tables (or a copy elsewhere) of its own, and a checkpoint. Readers see the live build; another one
 * is built beside it, and takes its place when it has caught up.
 */
export interface Build {
  readonly name: string
  /** Counts up; the newest is the highest. */
  readonly build: number
  /** Of the code that builds it. */
  readonly version: number
  /** Null: from the beginning. */
  readonly checkpoint: Checkpoint | null
  readonly isLive: boolean
  /** Streams. */
  readonly quarantined: number
}

/** Where the tables of a build are; those without tables of their own work in `public`. */
export const schemaOf = ({ name, tables }: Pick<Projection, 'name' | 'tables'>, build: number): string => {
  if (!/^[a-z][a-z_]{0,40}$/.test(name)) throw new Error(`a projection's name has lower-case letters and _ only: ${JSON.stringify(name)}`)
  return tables === undefined ? 'public' : `projection_${name}_${build}`
}

/** All builds of a projection, oldest first. */
export const listBuilds = (on: ClientBase | Pool, name: string): Promise<Build[]> =>
  sqlOn(on)<Build>`
    select name, build, version, checkpoint, is_live as "isLive",
      (select count(*)::int from quarantined_streams q where q.projection = p.name and q.build = p.build) as quarantined
    from projections p where name = ${name} order by build`

/** One process at a time changes which builds there are. */
const lockBuilds = (client: ClientBase, name: string) =>
  client.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [lockName(name)])
const lockName = (name: string): string => `kolbak/projections/${name}`

async function create(client: ClientBase, projection: Projection, build: number, isLive: boolean): Promise<void> {
  const schema = schemaOf(projection, build)
  await client.query('insert into projections (name, build, version, is_live) values ($1, $2, $3, $4)', [
    projection.name,
    build,
    projection.version,
    isLive,
  ])
  if (projection.tables !== undefined) {
    await client.query(`create schema ${schema}`)
    await client.query(`set local search_path to ${schema}, public`)
    await client.query(projection.tables)
  }
  // Should this transaction fail the copy stays, empty, for the next try: which gives it the same number.
  await projection.copies?.make(build)
  if (isLive) await showViews(client, projection, schema)
}
const isRebuildable = ({ tables, copies }: Projection): boolean => tables !== undefined || copies !== undefined

/** Points the readers' views at the tables of a build. */
async function showViews(client: ClientBase, { views = [] }: Projection, schema: string): Promise<void> {
  for (const view of views) {
    const definition = `public.${view} as select * from ${schema}.${view}`
    await client.query('savepoint showing')
    try {
      // Replaced where that is possible: it keeps the grants and whatever an operator has built upon it.
      await client.query(`create or replace view ${definition}`)
    } catch (error) {
      if (codeOf(error) !== '42P16') throw error // 42P16: its columns are others now
      await client.query('rollback to savepoint showing')
      await client.query(`drop view public.${view}`)
      await client.query(`create view ${definition}`)
    }
  }
}

/**
 * Makes what the projections need and is not there: tables and views of a first build, live at once; a further build
 * where the code's version is higher than any. Idempotent; every process calls it at its start, so that readers find views.
 */
export async function installProjections(pool: Pool, projections: readonly Projection[]): Promise<void> {
  for (const projection of projections)
    await transaction(pool, async (client) => {
      const { name, version } = projection
      await lockBuilds(client, name)
      const builds = await listBuilds(client, name)
      const newest = builds.at(-1)
      if (newest === undefined) return create(client, projection, 1, true)
      if (builds.some((build) => build.version >= version)) return
      // Without rows there is nothing to build beside: what it did stays done, so the new code goes on from there.
      if (!isRebuildable(projection))
        await client.query('update projections set version = $2 where name = $1 and version < $2', [name, version])
      else await create(client, projection, newest.build + 1, false)
    })
}

/**
 * Begins to build a projection anew beside the live build, which readers keep reading meanwhile; a running projector sees
 * to the rest. Answers the number of the build, also when one is under way already. Throws KolbakError `not_rebuildable`.
 */
export async function rebuild(pool: Pool, projection: Projection): Promise<number> {
  if (!isRebuildable(projection))
    throw new KolbakError('not_rebuildable', `${projection.name} has no rows of its own: there is nothing to build anew.`)
  return transaction(pool, async (client) => {
    await lockBuilds(client, projection.name)
    const builds = await listBuilds(client, projection.name)
    const live = builds.find((build) => build.isLive)?.build ?? 0
    const underWay = builds.find(({ build, version }) => build > live && version === projection.version)
    if (underWay !== undefined) return underWay.build
    const next = (builds.at(-1)?.build ?? 0) + 1
    await create(client, projection, next, builds.length === 0)
    return next
  })
}

/**
 * Makes a build the live one: views and `is_live` in one transaction. The live build stands still meanwhile, and `catchUp`
 * brings this one to where it stands, so that no reader sees less than before: without that a busy projection would
 * always be a step ahead. False when that did not succeed, or when the build is older than the live one, or gone.
 *
 * With `copies` the build then goes on where the live one stood, also where it was ahead, and has its quarantined streams
 * set aside too: what the live one has not applied is still to happen. And `catchUp` is always asked, since the live one's
 * copy may hold more than its checkpoint says: it is to go to whatever has been appended by then (`waitWhileSwitching`).
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
 * Resolves when no build of the projection is about to go live. Asked before a live build writes to its copy: what it
 * writes afterwards it has read before a later switch begins, so that the next build can have it too by then.
 */
export const waitWhileSwitching = (pool: Pool, name: string) =>
  pool.query('select pg_advisory_xact_lock_shared(hashtextextended($1, 0))', [lockName(name)])

/** Drops the builds that the live one has taken the place of. Waits for readers that are still on their tables, but not for long (55P03). */
export async function dropSuperseded(pool: Pool, projection: Projection): Promise<number[]> {
  if (projection.copies !== undefined) {
    // Before their rows, so that a crash repeats it; no build that was live becomes it again.
    const builds = await listBuilds(pool, projection.name)
    const live = builds.find((build) => build.isLive)?.build ?? 0
    for (const { build } of builds) if (build < live) await projection.copies.drop(build)
  }
  return transaction(pool, async (client) => {
    await client.query(`set local lock_timeout = '200ms'`)
    await lockBuilds(client, projection.name)
    // The rows first: a runner holds its row while it writes, and finds out that its build is gone before it writes again.
    const rows = await sqlOn(client)<{ build: number }>`
      delete from projections where name = ${projection.name}
        and build < (select build from projections where name = ${projection.name} and is_live)
      returning build`
    const builds = rows.map((row) => row.build)
    await client.query('delete from quarantined_streams where projection = $1 and build = any ($2)', [projection.name, builds])
    if (projection.tables !== undefined)
      for (const build of builds) await client.query(`drop schema ${schemaOf(projection, build)} cascade`)
    return builds
  })
}

/** The checkpoint that every build of these projections has reached, or null while one stands at the beginning: what is before it no reader needs. */
export async function passedByAll(pool: Pool, projections: readonly Pick<Projection, 'name'>[]): Promise<Checkpoint | null> {
  const [row] = await sqlOn(pool)<{ passed: Checkpoint | null }>`
    select case when bool_and(checkpoint is not null) then min(checkpoint) end as passed
    from projections where name = any (${projections.map(({ name }) => name)})`
  return row?.passed ?? null
}
