import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import type { StreamName } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { sqlOn, transaction } from '../lib/sql.ts'
import type { EventStore } from '../ports/event-store.ts'
import { describe, enter, lockBuild, savepointed } from './apply-batch.ts'
import { isEngineError, isEventError, isolate, type Poison, without } from './faults.ts'
import { type Projection, readable } from './projection.ts'

/** A stream that waits in one build of a projection for an operator. */
export interface QuarantinedStream {
  readonly projection: string
  readonly build: number
  readonly stream: StreamName
  /** Of the event that could not be taken; the stream's later events wait behind it. */
  readonly revision: number
  readonly event_id: EventId
  readonly error: string
  readonly since: string
}
export interface LiftDeps {
  readonly pool: Pool
  readonly store: Pick<EventStore, 'read'>
  readonly log: Log
}
/** Whether the stream goes on; else which event stops it now. */
export type Lifted =
  | { readonly lifted: true }
  | { readonly lifted: false; readonly revision: number; readonly event_id: EventId; readonly error: string }

const chunk = 500

/** What is quarantined, oldest first. */
export const listQuarantined = (pool: Pool): Promise<QuarantinedStream[]> =>
  sqlOn(pool)<QuarantinedStream>`
    select projection, build, stream, revision, event_id, error, since from quarantined_streams order by since, projection, build, stream`

/**
 * Takes the stream's events again, from the one that failed up to the build's checkpoint, in one transaction; later ones
 * come to the runner as usual. An event that fails (still, or now) leaves the stream quarantined at that event.
 * Throws KolbakError `not_quarantined`.
 */
export const retryQuarantined = (deps: LiftDeps, projection: Projection, stream: StreamName): Promise<Lifted> =>
  lift(deps, projection, stream, false)

/** The same without the event that failed: it is left out of this build for good. */
export const skipQuarantined = (deps: LiftDeps, projection: Projection, stream: StreamName): Promise<Lifted> =>
  lift(deps, projection, stream, true)

async function lift({ pool, store, log }: LiftDeps, projection: Projection, stream: StreamName, skip: boolean): Promise<Lifted> {
  const { name } = projection
  const answer = await transaction(pool, async (client): Promise<Lifted & { build: number }> => {
    const sql = sqlOn(client)
    const [where] = await sql<{ build: number }>`
      select p.build from quarantined_streams q join projections p on p.name = q.projection and p.build = q.build
      where q.projection = ${name} and q.stream = ${stream} and p.version = ${projection.version} order by p.is_live desc limit 1`
    // The runner waits meanwhile, so that the checkpoint stands still.
    const row = where === undefined ? undefined : await lockBuild(client, name, where.build)
    const build = where?.build ?? 0
    const [held] = await sql<{ revision: number; event_id: EventId }>`
      select revision, event_id from quarantined_streams where projection = ${name} and build = ${build} and stream = ${stream}`
    if (row === undefined || held === undefined)
      throw new KolbakError('not_quarantined', `${stream} is not quarantined in the projection ${name}.`)
    const of = { build, is_live: row.is_live }
    await enter(client, projection, build)
    const take = async (events: readonly RecordedEvent[]): Promise<Poison | undefined> => {
      const refused = await isolate(async (some) => projection.prepare?.(readable(projection, some), of), events, isEventError)
      const failed = await isolate(savepointed(client, projection, of), without(events, refused), (error) => !isEngineError(error))
      return [...refused, ...failed].sort((a, b) => a.event.revision - b.event.revision)[0]
    }
    for (let from = held.revision; ; ) {
      const read = await store.read(stream, { from, limit: chunk })
      const passed = read.filter((event) => row.checkpoint !== null && event.position <= row.checkpoint)
      const poison = await take(passed.filter((event) => (!skip || event.id !== held.event_id) && (projection.concerns?.(event) ?? true)))
      if (poison !== undefined) {
        const { event } = poison
        const error = describe(poison.error)
        await sql`update public.quarantined_streams
                  set revision = ${event.revision}, event_id = ${event.id}, position = ${event.position}, error = ${error}
                  where projection = ${name} and build = ${build} and stream = ${stream}`
        return { build, lifted: false, revision: event.revision, event_id: event.id, error }
      }
      if (passed.length < read.length || read.length === 0) break
      from = read.at(-1)!.revision + 1
    }
    await sql`delete from public.quarantined_streams where projection = ${name} and build = ${build} and stream = ${stream}`
    await sql`update public.projections set lifted = lifted + 1 where name = ${name} and build = ${build}`
    return { build, lifted: true }
  })
  const { build, ...outcome } = answer
  log.warn({ projection: name, build, stream, skip, ...outcome }, 'projection.quarantine_retried')
  return outcome
}
