import type { Caller } from '../commands/caller.ts'
import type { PastEvents } from '../commands/command-streams.ts'
import type { Decider } from '../commands/handler.ts'
import type { DecidedEvent, RecordedEvent } from '../events/envelope.ts'
import { invalid, lacksScope, notFound } from './errors.ts'
import { toUtc } from './rfc3339.ts'
import type { AtMoment } from './schemas/history.ts'

/** The past is for auditors: throws insufficient_scope for whoever lacks `read:audit`. */
export function mayAudit(caller: Caller): void {
  if (!caller.scopes.has('read:audit')) throw lacksScope('read:audit')
}

/** The time asked for as events write theirs, or throws validation_failed. */
export function momentOf(asOf: string): string {
  const time = toUtc(asOf)
  if (time === null) throw invalid([{ path: 'as_of', message: 'must be an RFC 3339 time with an offset or Z' }])
  return time
}

/** The states of an aggregate, one an event: the first is that after revision 0. */
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
 * The state that an aggregate had at a moment or a revision, with its revision: folded from the stored events, so that it
 * is what they say and not what a read model kept. Throws not_found before its creation, after its deletion, or when it is
 * not the tenant's; validation_failed when both are asked for.
 */
export function stateAt<State, Event extends DecidedEvent>(
  decider: Decider<State, never, Event>,
  past: PastEvents,
  caller: Caller,
  { as_of: asOf, revision }: AtMoment,
): { state: State; revision: number } {
  mayAudit(caller)
  if (asOf !== undefined && revision !== undefined)
    throw invalid([{ path: 'revision', message: 'must not stand beside as_of: ask for one of them' }])
  const moment = asOf === undefined ? undefined : momentOf(asOf)
  const events = past.events.filter((event) => (moment === undefined ? event.revision <= (revision ?? 0) : event.metadata.time <= moment))
  const last = events.at(-1)
  const state = statesOf(decider, events).at(-1) ?? null
  const owner = state === null ? null : decider.ownerOf(state)
  if (last === undefined || state === null || owner?.tenant !== caller.tenant || (revision ?? 0) > past.revision) throw notFound()
  return { state, revision: last.revision }
}
