import type { Decider } from '../commands/handler.ts'
import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import type { TenantId } from '../events/ids.ts'
import type { StreamName } from '../events/streams.ts'
import { indexAt, indexOfRevision, lastRevisionUpTo, readLogState } from '../projections/audit.ts'
import type { ApiDependencies } from './dependencies.ts'
import { invalid, notFound } from './errors.ts'
import { toUtc } from './rfc3339.ts'
import type { AtMoment } from './schemas/history.ts'

/** The parameters of a query that name a past state. */
const momentNames = ['as_of', 'as_of_index', 'revision'] as const
/** Returns whether a query asks for a past state. */
export const asksForPast = (search: URLSearchParams): boolean => momentNames.some((name) => search.has(name))
export const namesMoment = (query: AtMoment): boolean => momentNames.some((name) => query[name] !== undefined)

/** Returns the time of `as_of` in the form of event times. Throws validation_failed, also for a time that has not come yet. */
export function parseAsOf(asOf: string, now: number): string {
  const time = toUtc(asOf)
  if (time === null) throw invalid([{ path: 'as_of', message: 'must be an RFC 3339 time with an offset or Z' }])
  if (time > new Date(now).toISOString()) throw invalid([{ path: 'as_of', message: 'must not be in the future' }])
  return time
}

/** Returns the state of an aggregate after each of its events. The first one is the state after revision 0. */
export function statesOf<State, Event extends DecidedEvent>(
  decider: Decider<State, never, Event>,
  events: readonly RecordedEvent[],
): (State | null)[] {
  let state: State | null = decider.initial
  return events.map((event) => {
    state = decider.evolve(state, event)
    return state
  })
}

type PastDependencies = Pick<ApiDependencies, 'streams' | 'pool' | 'now'>
/** A past state of an aggregate. */
interface PastState<State> {
  readonly state: State
  readonly revision: number
  /** The header `As-Of-Index`, unless the audit log does not have the event yet. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * Returns the state that an aggregate had at a time, at an index of the audit log or at a revision. The state is computed from the stored events and
 * not taken from a read model. Throws not_found before the creation, after the deletion, and for an aggregate of
 * another tenant. Throws validation_failed when the query names more than one moment, or a moment that has not come yet.
 */
export async function stateAt<State, Event extends DecidedEvent>(
  deps: PastDependencies,
  decider: Decider<State, never, Event>,
  stream: StreamName,
  tenant: TenantId,
  query: AtMoment,
): Promise<PastState<State>> {
  const { revision } = query
  const past = await deps.streams.read(stream)
  const last = await lastRevisionAt(deps, stream, past.events, query)
  const events = past.events.filter((event) => event.revision <= last)
  const state = statesOf(decider, events).at(-1) ?? null
  const owner = state === null ? null : decider.ownerOf(state)
  const lastEvent = events.at(-1)
  if (lastEvent === undefined || state === null || owner?.tenant !== tenant || (revision ?? 0) > past.revision) throw notFound()
  const index = await indexOfRevision(deps.pool, stream, lastEvent.revision)
  return { state, revision: lastEvent.revision, headers: index === null ? {} : { 'as-of-index': String(index) } }
}

/**
 * Throws as `stateAt` does if one of the streams is faulty, so that a list of past states shows nothing that `stateAt` would refuse to show. The read
 * model of past versions may have an event from before it was altered.
 */
export const requireWholeStreams = async ({ streams }: Pick<PastDependencies, 'streams'>, names: readonly StreamName[]): Promise<void> => {
  await Promise.all(names.map((name) => streams.read(name)))
}

/** Returns the header `As-Of-Index` of a list at a time: the index of the last event up to then, of one tenant or of all. */
export async function listIndexHeader({ pool }: Pick<ApiDependencies, 'pool'>, time: string, tenant?: TenantId) {
  const index = await indexAt(pool, time, tenant)
  return index === null ? {} : { 'as-of-index': String(index) }
}

/** Returns the revision that a stream had at the moment of a query, or -1. Throws validation_failed. */
async function lastRevisionAt(
  { pool, now }: PastDependencies,
  stream: StreamName,
  events: readonly RecordedEvent[],
  query: AtMoment,
): Promise<number> {
  const [first, second] = momentNames.filter((name) => query[name] !== undefined)
  if (second !== undefined) throw invalid([{ path: second, message: `must not be combined with ${first}` }])
  const { as_of: asOf, as_of_index: index, revision = -1 } = query
  if (asOf !== undefined) {
    const time = parseAsOf(asOf, now())
    return events.findLast(({ metadata }) => metadata.time <= time)?.revision ?? -1
  }
  if (index === undefined) return revision
  if (index >= (await readLogState(pool)).size) throw invalid([{ path: 'as_of_index', message: 'must be an index of the audit log' }])
  return lastRevisionUpTo(pool, stream, index)
}
