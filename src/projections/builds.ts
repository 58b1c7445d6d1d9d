import type { ClientBase, Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import type { Projection } from './projection.ts'

/**
 * A build of a projection has its own tables (or its own rows in another store) and its own checkpoint. Readers see the live build. A new build is
 * made beside it, and becomes live when it has caught up.
 */
export interface Build {
  readonly name: string
  /** The number of the build. The newest build has the highest number. */
  readonly build: number
  /** The version of the projection that makes the build. */
  readonly version: number
  /** The checkpoint, or null before the first batch. */
  readonly checkpoint: Checkpoint | null
  readonly is_live: boolean
  /** The number of quarantined streams. */
  readonly quarantined: number
}

/** Returns the schema of the tables of a build, which is `public` for a projection without tables. */
export const schemaOf = ({ name, tables }: Pick<Projection, 'name' | 'tables'>, build: number): string => {
  if (!/^[a-z][a-z_]{0,40}$/.test(name))
    throw new Error(`the name of a projection may only have lower-case letters and _: ${JSON.stringify(name)}`)
  return tables === undefined ? 'public' : `projection_${name}_${build}`
}

/** Returns all builds of a projection, oldest first. */
export const listBuilds = (client: ClientBase | Pool, name: string): Promise<Build[]> =>
  sqlOn(client)<Build>`
    select name, build, version, checkpoint, is_live,
      (select count(*)::int from quarantined_streams q where q.projection = p.name and q.build = p.build) as quarantined
    from projections p where name = ${name} order by build`

/** Takes the lock for creating, dropping and switching builds of a projection. It is held until the transaction ends. */
export const lockBuilds = (client: ClientBase, name: string) =>
  client.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [lockName(name)])
export const lockName = (name: string): string => `kolbak/projections/${name}`

async function createBuild(client: ClientBase, projection: Projection, build: number, is_live: boolean): Promise<void> {
  const schema = schemaOf(projection, build)
  await client.query('insert into projections (name, build, version, is_live) values ($1, $2, $3, $4)', [
    projection.name,
    build,
    projection.version,
    is_live,
  ])
  if (projection.tables !== undefined) {
    await client.query(`create schema ${schema}`)
    await client.query(`set local search_path to ${schema}, public`)
    await client.query(projection.tables)
  }
  // If this transaction fails, the empty external build remains. The next try uses the same number and finds it.
  await projection.externalBuilds?.create(build)
  if (is_live) await showViews(client, projection, schema)
}
const isRebuildable = ({ tables, externalBuilds }: Projection): boolean => tables !== undefined || externalBuilds !== undefined

/** Points the readers' views at the tables of a build. */
export async function showViews(client: ClientBase, { views = [] }: Projection, schema: string): Promise<void> {
  for (const view of views) {
    const definition = `public.${view} as select * from ${schema}.${view}`
    await client.query('savepoint replacing')
    try {
      // The view is replaced if possible, because a replaced view keeps its grants and the objects of operators that depend on it.
      await client.query(`create or replace view ${definition}`)
    } catch (error) {
      if (codeOf(error) !== '42P16') throw error // 42P16: the new view has other columns.
      await client.query('rollback to savepoint replacing')
      await client.query(`drop view public.${view}`)
      await client.query(`create view ${definition}`)
    }
  }
}

/**
 * Creates the missing builds of the projections. A first build is live at once. A new build is created if the version of the code is higher than the
 * version of every build. Every process calls this function at its start, so that readers find the views; a repetition changes nothing.
 */
export async function installProjections(pool: Pool, projections: readonly Projection[]): Promise<void> {
  for (const projection of projections)
    await transaction(pool, async (client) => {
      const { name, version } = projection
      await lockBuilds(client, name)
      const builds = await listBuilds(client, name)
      const newest = builds.at(-1)
      if (newest === undefined) return createBuild(client, projection, 1, true)
      if (builds.some((build) => build.version >= version)) return
      // A projection without rows cannot be built again, because its effects cannot be undone. So the new version continues at the checkpoint.
      if (!isRebuildable(projection))
        await client.query('update projections set version = $2 where name = $1 and version < $2', [name, version])
      else await createBuild(client, projection, newest.build + 1, false)
    })
}

/**
 * Creates a new build beside the live one, which readers continue to see. A running projector fills the new build and makes it live. Returns the
 * number of the new build, or of one that is already in progress. Throws KolbakError `not_rebuildable`.
 */
export async function rebuild(pool: Pool, projection: Projection): Promise<number> {
  if (!isRebuildable(projection))
    throw new KolbakError('not_rebuildable', `${projection.name} has no rows, so there is nothing to build again.`)
  return transaction(pool, async (client) => {
    await lockBuilds(client, projection.name)
    const builds = await listBuilds(client, projection.name)
    const live = builds.find((build) => build.is_live)?.build ?? 0
    const underWay = builds.find(({ build, version }) => build > live && version === projection.version)
    if (underWay !== undefined) return underWay.build
    const next = (builds.at(-1)?.build ?? 0) + 1
    await createBuild(client, projection, next, builds.length === 0)
    return next
  })
}

/** Drops the builds before the live build and returns their numbers. Fails with 55P03 if readers use the tables for longer than 200 ms. */
export async function dropSuperseded(pool: Pool, projection: Projection): Promise<number[]> {
  if (projection.externalBuilds !== undefined) {
    // External builds are dropped before their rows in `projections`, so that the next call drops them again after a crash.
    const builds = await listBuilds(pool, projection.name)
    const live = builds.find((build) => build.is_live)?.build ?? 0
    for (const { build } of builds) if (build < live) await projection.externalBuilds.drop(build)
  }
  return transaction(pool, async (client) => {
    await client.query(`set local lock_timeout = '200ms'`)
    await lockBuilds(client, projection.name)
    // The rows of `projections` are deleted first. A runner locks its row before it writes, and then finds that its build is gone.
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

/**
 * Returns the checkpoint that every build of these projections has reached, so that no build needs earlier events. Returns null if a build has no
 * checkpoint.
 */
export async function commonCheckpoint(pool: Pool, projections: readonly Pick<Projection, 'name'>[]): Promise<Checkpoint | null> {
  const [row] = await sqlOn(pool)<{ lowest: Checkpoint | null }>`
    select case when bool_and(checkpoint is not null) then min(checkpoint) end as lowest
    from projections where name = any (${projections.map(({ name }) => name)})`
  return row?.lowest ?? null
}
