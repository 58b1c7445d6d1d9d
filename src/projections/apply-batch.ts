import type { ClientBase, Pool } from 'pg'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { step } from '../events/steps.ts'
import type { StreamName } from '../events/streams.ts'
import { codeOf } from '../lib/errors.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import type { EventBatch } from '../ports/event-store.ts'
import { schemaOf } from './builds.ts'
import { isEngineError, isEventError, isolate, type Poison, without } from './faults.ts'
import { isLiveAfterSwitching } from './go-live.ts'
import { type OfBuild, type Projection, readable } from './projection.ts'

/** What a runner believes of its build; compared with the row before anything is written. */
export interface BuildState {
  readonly build: number
  readonly is_live: boolean
  readonly checkpoint: Checkpoint | null
  /** Quarantines lifted so far. */
  readonly lifted: number
  readonly quarantined: ReadonlySet<StreamName>
}

/** Another runner moved the build on, an operator lifted a quarantine, or the build is gone: read its state again. */
export class BuildMoved extends Error {
  readonly code = 'build_moved'
  constructor(name: string, build: number) {
    super(`build ${build} of the projection ${name} was moved by somebody else`)
  }
}

/** The state of a build from one snapshot, or null when it is gone, or another one has taken its place. */
export async function readState(pool: Pool, name: string, build: number): Promise<BuildState | null> {
  const [row] = await sqlOn(pool)<Omit<BuildState, 'quarantined'> & { streams: StreamName[] }>`
    select build, is_live, checkpoint, lifted,
      array(select stream from quarantined_streams where projection = ${name} and build = ${build}) as streams
    from projections where name = ${name} and build = ${build}
      and not exists (select from projections where name = ${name} and build > ${build} and is_live)`
  if (row === undefined) return null
  const { streams, ...state } = row
  return { ...state, quarantined: new Set(streams) }
}

/** Locks the build's row to the end of the transaction; what is read of the row is then the newest. */
export async function lockBuild(client: ClientBase, name: string, build: number) {
  const [row] = await sqlOn(client)<{ checkpoint: Checkpoint | null; lifted: number; is_live: boolean }>`
    select checkpoint, lifted, is_live from projections where name = ${name} and build = ${build} for update`
  return row
}

/** Applies events in the open transaction, in the build's schema; constraints speak up here and not at the commit. */
export async function enter(client: ClientBase, projection: Projection, build: number): Promise<void> {
  await client.query(`set local search_path to ${schemaOf(projection, build)}, public; set constraints all immediate`)
}
/** An `apply` that leaves nothing behind when it fails, for `isolate`. */
export const savepointed =
  (client: ClientBase, projection: Projection, of: OfBuild) =>
  async (events: readonly RecordedEvent[]): Promise<void> => {
    await client.query('savepoint events')
    try {
      await projection.apply(sqlOn(client), readable(projection, events), of)
    } catch (error) {
      if (!isEngineError(error)) await client.query('rollback to savepoint events')
      throw error
    }
    await client.query('release savepoint events')
  }
/** What is written of an error: its code and its message, never pg's detail, which quotes rows. */
export function describe(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return `${codeOf(error) ?? 'error'}: ${message}`.replaceAll('\u0000', '').slice(0, 500)
}

/**
 * Takes one batch: `prepare`, then rows, quarantine and checkpoint in one transaction. With `isolating` an event that
 * fails quarantines its stream and the others go on; without, it fails the batch. Answers the build's new state and what
 * was quarantined. Throws BuildMoved, or what is the engine's fault; then nothing was written to Postgres.
 */
export async function takeBatch(
  pool: Pool,
  projection: Projection,
  state: BuildState,
  batch: EventBatch,
  isolating: boolean,
): Promise<{ state: BuildState; poisons: readonly Poison[] }> {
  const { name } = projection
  const { build } = state
  const free = batch.events.filter((event) => !state.quarantined.has(event.stream))
  const prepare = async (events: readonly RecordedEvent[]) => projection.prepare?.(readable(projection, events), state)
  let refused: Poison[] = []
  if (free.length > 0) {
    if (state.is_live && projection.copies !== undefined && !(await isLiveAfterSwitching(pool, name, build)))
      throw new BuildMoved(name, build)
    if (isolating) refused = await isolate(prepare, free, isEventError)
    else await prepare(free)
  }
  const events = without(free, refused)
  const apply = async (client: ClientBase) => {
    const row = await lockBuild(client, name, build)
    if (row === undefined || row.checkpoint !== state.checkpoint || row.lifted !== state.lifted) throw new BuildMoved(name, build)
    let poisons: readonly Poison[] = refused
    if (events.length > 0) {
      const of = { build, is_live: row.is_live }
      await enter(client, projection, build)
      if (isolating)
        poisons = [...refused, ...(await isolate(savepointed(client, projection, of), events, (error) => !isEngineError(error)))]
      else await step('projection.rows', () => projection.apply(sqlOn(client), readable(projection, events), of))
    }
    const sql = sqlOn(client)
    for (const { event, error } of poisons)
      await sql`insert into public.quarantined_streams (projection, build, stream, revision, event_id, position, error)
                values (${name}, ${build}, ${event.stream}, ${event.revision}, ${event.id}, ${event.position}, ${describe(error)})`
    const move = () => sql`
      update public.projections set checkpoint = ${batch.checkpoint}, updated_at = clock_timestamp()
      where name = ${name} and build = ${build} and checkpoint is not distinct from ${state.checkpoint} returning build`
    const moved = await step('projection.checkpoint', move)
    if (moved.length === 0) throw new BuildMoved(name, build)
    return {
      state: {
        ...state,
        is_live: row.is_live,
        checkpoint: batch.checkpoint,
        quarantined: new Set([...state.quarantined, ...poisons.map(({ event }) => event.stream)]),
      },
      poisons,
    }
  }
  return step('projection.transaction', () => transaction(pool, apply))
}
