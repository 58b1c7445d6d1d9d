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
  readonly is_live: boolean
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
    select name, build, version, checkpoint, is_live,
      (select count(*)::int from quarantined_streams q where q.projection = p.name and q.build = p.build) as quarantined
    from projections p where name = ${name} order by build`

/** One process at a time changes which builds there are, and which is live; to the end of the transaction. */
export const lockBuilds = (client: ClientBase, name: string) =>
  client.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [lockName(name)])
export const lockName = (name: string): string => `kolbak/projections/${name}`

async function create(client: ClientBase, projection: Projection, build: number, is_live: boolean): Promise<void> {
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
  // Should this transaction fail the copy stays, empty, for the next try: which gives it the same number.
  await projection.copies?.make(build)
  if (is_live) await showViews(client, projection, schema)
}
const isRebuildable = ({ tables, copies }: Projection): boolean => tables !== undefined || copies !== undefined

/** Points the readers' views at the tables of a build. */
export async function showViews(client: ClientBase, { views = [] }: Projection, schema: string): Promise<void> {
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
    const live = builds.find((build) => build.is_live)?.build ?? 0
    const underWay = builds.find(({ build, version }) => build > live && version === projection.version)
    if (underWay !== undefined) return underWay.build
    const next = (builds.at(-1)?.build ?? 0) + 1
    await create(client, projection, next, builds.length === 0)
    return next
  })
}

/** Drops the builds that the live one has taken the place of. Waits for readers that are still on their tables, but not for long (55P03). */
export async function dropSuperseded(pool: Pool, projection: Projection): Promise<number[]> {
  if (projection.copies !== undefined) {
    // Before their rows, so that a crash repeats it; no build that was live becomes it again.
    const builds = await listBuilds(pool, projection.name)
    const live = builds.find((build) => build.is_live)?.build ?? 0
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
