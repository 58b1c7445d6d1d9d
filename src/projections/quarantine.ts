import type { ClientBase, Pool } from 'pg'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import type { StreamName } from '../events/streams.ts'
import { describeError, KolbakError } from '../lib/errors.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Log } from '../lib/log.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import type { EventStore } from '../ports/event-store.ts'
import { applyWithSavepoint, forgedIn, lockBuild, useSchemaOf } from './apply-batch.ts'
import { type FaultyEvent, isEngineError, isEventError, isolateFaulty, withoutFaulty } from './faulty-events.ts'
import { type BuildContext, type Projection, readable } from './projection.ts'

/** A stream that waits for an operator in one build of a projection. */
export interface QuarantinedStream {
  readonly projection: string
  readonly build: number
  readonly stream: StreamName
  /** The revision of the faulty event. The later events of the stream wait behind it. */
  readonly revision: number
  readonly event_id: EventId
  readonly error: string
  readonly since: string
}
interface LiftDependencies {
  readonly pool: Pool
  readonly store: Pick<EventStore, 'read'>
  readonly log: Log
  /** Finds forged events. Without it, no event is checked. */
  readonly macs?: Pick<EventMacs, 'faultOf'> | undefined
}
/** The result of an attempt to lift a quarantine. If the stream stays quarantined, the result names the event that is faulty now. */
export type LiftResult =
  | { readonly lifted: true }
  | { readonly lifted: false; readonly revision: number; readonly event_id: EventId; readonly error: string }

const eventsPerRead = 500

/** Returns all quarantined streams, oldest first. */
export const listQuarantined = (pool: Pool): Promise<QuarantinedStream[]> =>
  sqlOn(pool)<QuarantinedStream>`
    select projection, build, stream, revision, event_id, error, since from quarantined_streams order by since, projection, build, stream`

/**
 * Applies the events of a stream again, from the faulty event up to the checkpoint of the build, in one transaction. The runner applies
 * later events as usual. If this event or a later event is faulty now, the stream stays quarantined at that event.
 * Throws KolbakError `not_quarantined`.
 */
export const retryQuarantined = (deps: LiftDependencies, projection: Projection, stream: StreamName): Promise<LiftResult> =>
  lift(deps, projection, stream, false)

/** Lifts the quarantine like `retryQuarantined`, but leaves out the faulty event. */
export const skipQuarantined = (deps: LiftDependencies, projection: Projection, stream: StreamName): Promise<LiftResult> =>
  lift(deps, projection, stream, true)

async function lift(deps: LiftDependencies, projection: Projection, stream: StreamName, skip: boolean): Promise<LiftResult> {
  const { name } = projection
  const { build, result } = await transaction(deps.pool, async (client) => {
    const quarantine = await lockQuarantine(client, projection, stream)
    await useSchemaOf(client, projection, quarantine.build)
    const faulty = await applyAgain(deps, client, projection, stream, quarantine, skip)
    return { build: quarantine.build, result: await storeResult(client, name, stream, quarantine, faulty) }
  })
  deps.log.warn({ projection: name, build, stream, skip, ...result }, 'projection.quarantine_retried')
  return result
}

interface Quarantine extends BuildContext {
  readonly checkpoint: Checkpoint | null
  readonly revision: number
  readonly event_id: EventId
}

/** Locks the build in which the stream is quarantined, so that its runner waits and its checkpoint does not change. */
async function lockQuarantine(client: ClientBase, { name, version }: Projection, stream: StreamName): Promise<Quarantine> {
  const sql = sqlOn(client)
  const notQuarantined = () => new KolbakError('not_quarantined', `${stream} is not quarantined in the projection ${name}.`)
  const [location] = await sql<{ build: number }>`
    select p.build from quarantined_streams q join projections p on p.name = q.projection and p.build = q.build
    where q.projection = ${name} and q.stream = ${stream} and p.version = ${version} order by p.is_live desc limit 1`
  if (location === undefined) throw notQuarantined()
  const { build } = location
  const locked = await lockBuild(client, name, build)
  const [quarantined] = await sql<{ revision: number; event_id: EventId }>`
    select revision, event_id from quarantined_streams where projection = ${name} and build = ${build} and stream = ${stream}`
  if (locked === undefined || quarantined === undefined) throw notQuarantined()
  return { build, ...locked, ...quarantined }
}

/** Applies the events from the faulty event up to the checkpoint. Returns the first event that is faulty now, or undefined. */
async function applyAgain(
  { store, macs }: LiftDependencies,
  client: ClientBase,
  projection: Projection,
  stream: StreamName,
  { build, is_live, applied_to, checkpoint, revision, event_id }: Quarantine,
  skip: boolean,
): Promise<FaultyEvent | undefined> {
  const context = { build, is_live, applied_to }
  const apply = async (events: readonly RecordedEvent[]): Promise<FaultyEvent | undefined> => {
    const prepare = async (part: readonly RecordedEvent[]) => projection.prepare?.(readable(projection, part), context)
    const forged = forgedIn(events, macs)
    const refused = [...forged, ...(await isolateFaulty(prepare, withoutFaulty(events, forged), isEventError))]
    const applyPart = applyWithSavepoint(client, projection, context)
    const failed = await isolateFaulty(applyPart, withoutFaulty(events, refused), (error) => !isEngineError(error))
    return [...refused, ...failed].sort((a, b) => a.event.revision - b.event.revision)[0]
  }
  const isNeeded = (event: RecordedEvent) => (!skip || event.id !== event_id) && (projection.concerns?.(event) ?? true)
  for (let from = revision; ; ) {
    const read = await store.read(stream, { from, limit: eventsPerRead })
    const upToCheckpoint = read.filter((event) => checkpoint !== null && event.position <= checkpoint)
    const faulty = await apply(upToCheckpoint.filter(isNeeded))
    if (faulty !== undefined) return faulty
    if (upToCheckpoint.length < read.length || read.length === 0) return undefined
    from = read.at(-1)!.revision + 1
  }
}

/** Lifts the quarantine, or moves it to the event that is faulty now. */
async function storeResult(
  client: ClientBase,
  name: string,
  stream: StreamName,
  { build }: Quarantine,
  faulty: FaultyEvent | undefined,
): Promise<LiftResult> {
  const sql = sqlOn(client)
  if (faulty === undefined) {
    await sql`delete from public.quarantined_streams where projection = ${name} and build = ${build} and stream = ${stream}`
    await sql`update public.projections set lifted = lifted + 1 where name = ${name} and build = ${build}`
    return { lifted: true }
  }
  const { revision, id, position } = faulty.event
  const error = describeError(faulty.error)
  await sql`update public.quarantined_streams
            set revision = ${revision}, event_id = ${id}, position = ${position}, error = ${error}
            where projection = ${name} and build = ${build} and stream = ${stream}`
  return { lifted: false, revision, event_id: id, error }
}
