import type { ClientBase, Pool } from 'pg'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { step } from '../events/steps.ts'
import type { StreamName } from '../events/streams.ts'
import { describeError } from '../lib/errors.ts'
import { EventForged, type EventMacs } from '../lib/event-macs.ts'
import { type Sql, sqlOn, transaction } from '../lib/sql.ts'
import type { EventBatch } from '../ports/event-store.ts'
import { schemaOf } from './builds.ts'
import { type FaultyEvent, isEngineError, isEventError, isolateFaulty, withoutFaulty } from './faulty-events.ts'
import { isLiveAfterSwitching } from './go-live.ts'
import { type BuildContext, type Projection, readable } from './projection.ts'

/** The state of a build as its runner knows it. The runner compares the state with the row before it writes anything. */
export interface BuildState {
  readonly build: number
  readonly is_live: boolean
  readonly checkpoint: Checkpoint | null
  /** See BuildContext. */
  readonly applied_to: Checkpoint | null
  /** The number of quarantines that an operator has lifted so far. */
  readonly lifted: number
  readonly quarantined: ReadonlySet<StreamName>
}

/**
 * The error when the row of a build differs from the state that the runner knows. Another runner moved the checkpoint, an operator lifted a
 * quarantine, or the build was dropped. The runner must read the state again.
 */
export class BuildMoved extends Error {
  readonly code = 'build_moved'
  constructor(name: string, build: number) {
    super(`build ${build} of the projection ${name} was changed by another process`)
  }
}

/** Reads the state of a build in one snapshot. Returns null when the build was dropped or a newer build is live. */
export async function readState(pool: Pool, name: string, build: number): Promise<BuildState | null> {
  const [row] = await sqlOn(pool)<Omit<BuildState, 'quarantined'> & { streams: StreamName[] }>`
    select build, is_live, checkpoint, lifted, applied_to,
      array(select stream from quarantined_streams where projection = ${name} and build = ${build}) as streams
    from projections where name = ${name} and build = ${build}
      and not exists (select from projections where name = ${name} and build > ${build} and is_live)`
  if (row === undefined) return null
  const { streams, ...state } = row
  return { ...state, quarantined: new Set(streams) }
}

/** Locks the row of a build until the end of the transaction, and returns the row as it is then. */
export async function lockBuild(client: ClientBase, name: string, build: number) {
  const [row] = await sqlOn(client)<{ checkpoint: Checkpoint | null; lifted: number; is_live: boolean; applied_to: Checkpoint | null }>`
    select checkpoint, lifted, is_live, applied_to from projections where name = ${name} and build = ${build} for update`
  return row
}

/** Makes the open transaction work in the schema of a build. Constraints are checked at each statement and not only at the commit. */
export async function useSchemaOf(client: ClientBase, projection: Projection, build: number): Promise<void> {
  await client.query(`set local search_path to ${schemaOf(projection, build)}, public; set constraints all immediate`)
}
/** Returns a function for `isolateFaulty` that applies events. When it fails, it leaves nothing behind, because it rolls back to a savepoint. */
export const applyWithSavepoint =
  (client: ClientBase, projection: Projection, context: BuildContext) =>
  async (events: readonly RecordedEvent[]): Promise<void> => {
    await client.query('savepoint events')
    try {
      await projection.apply(sqlOn(client), readable(projection, events), context)
    } catch (error) {
      if (!isEngineError(error)) await client.query('rollback to savepoint events')
      throw error
    }
    await client.query('release savepoint events')
  }

/** The result of a batch: the new state of the build, and the events whose streams were quarantined. */
interface AppliedBatch {
  readonly state: BuildState
  readonly faulty: readonly FaultyEvent[]
}

/**
 * Processes one batch. Calls `prepare`, then writes rows, quarantine and checkpoint in one transaction. Throws BuildMoved or an error of the engine;
 * nothing is then written to Postgres.
 * A forged event always quarantines its stream, because only events that Kolbak has written may have an effect.
 * @param options.isolating true: a faulty event quarantines its stream, and the other streams are applied; false: it fails the whole batch
 */
export async function applyBatch(
  pool: Pool,
  projection: Projection,
  state: BuildState,
  batch: EventBatch,
  { isolating, macs }: { isolating: boolean; macs?: Pick<EventMacs, 'faultOf'> | undefined },
): Promise<AppliedBatch> {
  const { name, takesAll = false } = projection
  const { build } = state
  const notQuarantined = takesAll ? batch.events : batch.events.filter((event) => !state.quarantined.has(event.stream))
  const forged = takesAll ? [] : forgedIn(notQuarantined, macs) // mutation: forged-applied
  const genuine = withoutFaulty(notQuarantined, forged)
  const refused = [...forged, ...(await prepareBatch(pool, projection, state, genuine, isolating))]
  const events = withoutFaulty(genuine, refused)
  if (events.length === 0 && refused.length === 0) {
    // Nothing else changes, so one statement is enough.
    const is_live = await moveCheckpoint(sqlOn(pool), name, state, batch.checkpoint)
    return { state: { ...state, is_live, checkpoint: batch.checkpoint }, faulty: [] }
  }
  const apply = async (client: ClientBase): Promise<AppliedBatch> => {
    const row = await lockBuild(client, name, build)
    if (row === undefined || row.checkpoint !== state.checkpoint || row.lifted !== state.lifted) throw new BuildMoved(name, build)
    let faulty: readonly FaultyEvent[] = refused
    if (events.length > 0) {
      const context = { build, is_live: row.is_live, applied_to: row.applied_to }
      await useSchemaOf(client, projection, build)
      if (isolating) {
        const isFault = (error: unknown) => !isEngineError(error)
        faulty = [...refused, ...(await isolateFaulty(applyWithSavepoint(client, projection, context), events, isFault))]
      } else await step('projection.rows', () => projection.apply(sqlOn(client), readable(projection, events), context))
    }
    const sql = sqlOn(client)
    for (const { event, error } of faulty)
      await sql`insert into public.quarantined_streams (projection, build, stream, revision, event_id, position, error)
                values (${name}, ${build}, ${event.stream}, ${event.revision}, ${event.id}, ${event.position}, ${describeError(error)})`
    await moveCheckpoint(sql, name, state, batch.checkpoint)
    const quarantined = new Set([...state.quarantined, ...faulty.map(({ event }) => event.stream)])
    return { state: { ...state, is_live: row.is_live, checkpoint: batch.checkpoint, quarantined }, faulty }
  }
  return step('projection.transaction', () => transaction(pool, apply))
}

/** Moves the checkpoint of a build, unless another runner has moved it. Throws BuildMoved. Returns whether the build is live. */
async function moveCheckpoint(sql: Sql, name: string, { build, checkpoint, lifted }: BuildState, to: Checkpoint): Promise<boolean> {
  const update = () => sql<{ is_live: boolean }>`
    update public.projections set checkpoint = ${to}, updated_at = clock_timestamp()
    where name = ${name} and build = ${build} and checkpoint is not distinct from ${checkpoint} and lifted = ${lifted} returning is_live`
  const [moved] = await step('projection.checkpoint', update)
  if (moved === undefined) throw new BuildMoved(name, build)
  return moved.is_live
}

/** Returns the first forged event of each stream. */
export function forgedIn(events: readonly RecordedEvent[], macs: Pick<EventMacs, 'faultOf'> | undefined): FaultyEvent[] {
  const forged = new Map<StreamName, FaultyEvent>()
  for (const event of events) {
    const fault = forged.has(event.stream) ? null : (macs?.faultOf(event) ?? null)
    if (fault !== null) forged.set(event.stream, { event, error: new EventForged(event, fault) })
  }
  return [...forged.values()]
}

/** Calls `prepare` for the events. With `isolating` it returns the faulty events. Otherwise it throws the first error. */
async function prepareBatch(
  pool: Pool,
  projection: Projection,
  state: BuildState,
  events: readonly RecordedEvent[],
  isolating: boolean,
): Promise<FaultyEvent[]> {
  if (events.length === 0) return []
  if (state.is_live && projection.externalBuilds !== undefined && !(await isLiveAfterSwitching(pool, projection.name, state.build)))
    throw new BuildMoved(projection.name, state.build)
  const prepare = async (part: readonly RecordedEvent[]) => projection.prepare?.(readable(projection, part), state)
  if (isolating) return isolateFaulty(prepare, events, isEventError)
  await prepare(events)
  return []
}
