import type { Caller } from '../commands/caller.ts'
import type { PastEvents } from '../commands/command-streams.ts'
import type { Decider } from '../commands/handler.ts'
import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import { invalid, lacksScope, notFound } from './errors.ts'
import { toUtc } from './rfc3339.ts'
import type { AtMoment } from './schemas/history.ts'

/** Throws insufficient_scope when the caller lacks `read:audit`, which every read of a past state needs. */
export function requireAuditScope(caller: Caller): void {
  if (!caller.scopes.has('read:audit')) throw lacksScope('read:audit')
}

/** Returns the time of `as_of` in the form of event times. Throws validation_failed. */
export function parseAsOf(asOf: string): string {
  const time = toUtc(asOf)
  if (time === null) throw invalid([{ path: 'as_of', message: 'must be an RFC 3339 time with an offset or Z' }])
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

/**
 * Returns the state that an aggregate had at a time or a revision, and the revision of that state. The state is computed from the stored events and
 * not taken from a read model. Throws not_found before the creation, after the deletion, and for an aggregate of
 * another tenant. Throws validation_failed when the query has both a time and a revision.
 */
export function stateAt<State, Event extends DecidedEvent>(
  decider: Decider<State, never, Event>,
  past: PastEvents,
  caller: Caller,
  { as_of: asOf, revision }: AtMoment,
): { state: State; revision: number } {
  requireAuditScope(caller)
  if (asOf !== undefined && revision !== undefined) throw invalid([{ path: 'revision', message: 'must not be combined with as_of' }])
  const time = asOf === undefined ? undefined : parseAsOf(asOf)
  const events = past.events.filter((event) => (time === undefined ? event.revision <= (revision ?? 0) : event.metadata.time <= time))
  const lastEvent = events.at(-1)
  const state = statesOf(decider, events).at(-1) ?? null
  const owner = state === null ? null : decider.ownerOf(state)
  if (lastEvent === undefined || state === null || owner?.tenant !== caller.tenant || (revision ?? 0) > past.revision) throw notFound()
  return { state, revision: lastEvent.revision }
}
