import { randomUUID } from 'node:crypto'
import type { Checkpoint, DecidedEvent, RecordedEvent, RequestFacts } from '../events/envelope.ts'
import type { EventId, KeyId, TenantId } from '../events/ids.ts'
import { step } from '../events/steps.ts'
import type { StreamName } from '../events/streams.ts'
import { uuidV5 } from '../events/uuid.ts'
import { KolbakError } from '../lib/errors.ts'
import { pause } from '../lib/retry.ts'
import { RevisionConflict, StoreUnavailable } from '../ports/event-store.ts'
import type { Caller } from './caller.ts'
import type { CommandStreams, PastEvents } from './command-streams.ts'

/** Decides commands and derives states for one kind of aggregate. It is pure: time, ids and randomness come in with the command. */
export interface Decider<State, Command, Event extends DecidedEvent> {
  readonly initial: State | null
  /** Returns the events to append, or none when nothing changes. Throws KolbakError when the command is refused. */
  decide(command: Command, state: State | null): Event[]
  evolve(state: State | null, event: RecordedEvent): State | null
  /** Returns the owner of the aggregate, or null when the aggregate was deleted. */
  ownerOf(state: State): { tenant: TenantId; key_id: KeyId | null } | null
}

export interface CommandContext {
  readonly caller: Caller
  readonly correlation_id: string
  /** The request that gave the command. A command of Kolbak itself has none. */
  readonly request?: RequestFacts
  /** The event for which a process manager gave the command. Event ids are derived from its id, so that a repeated command appends once. */
  readonly causationId?: EventId
  /** The id of a command that no event caused. Event ids are derived from this id, so that a repeated command appends once. */
  readonly commandId?: EventId
  /** RFC 3339, milliseconds. */
  readonly now: string
  /** The revisions that the caller accepts (`If-Match`); `*` means any. With `ifMatch`, the command is not retried after a conflict. */
  readonly ifMatch?: '*' | readonly number[]
  /** Whether the command creates the aggregate, so that its stream must not exist yet. */
  readonly create?: boolean
}
export interface Handled<State> {
  readonly state: State
  readonly revision: number
  /** The position of the stream's last event. Null when the store does not report it and nothing was appended. */
  readonly position: Checkpoint | null
  readonly changed: boolean
}

const conflictRetries = 3
/** The average pause (ms) before the first retry after a conflict. Each further pause is twice as long. */
const firstPauseMs = 5
const unavailableRetries = 2

const preconditionFailed = (revision: number) =>
  new KolbakError('precondition_failed', `The resource is at revision ${revision}, which If-Match does not name: read it again.`)
const notFound = () => new KolbakError('not_found', 'There is no such resource, or it is not yours.')

/**
 * Carries out a command on an aggregate of any family: reads its stream, derives the state, checks the owner and `If-Match`, decides, and
 * appends at the revision that it read. After a conflict it retries all these steps up to three times, except with `If-Match`.
 *
 * Throws not_found, precondition_failed, conflict, already_exists, the errors of the decider, EventNotReadable or StoreUnavailable.
 */
export async function handle<State, Command, Event extends DecidedEvent>(
  streams: CommandStreams,
  decider: Decider<State, Command, Event>,
  stream: StreamName,
  command: Command,
  context: CommandContext,
): Promise<Handled<State>> {
  const { caller, ifMatch } = context
  const cause = context.causationId ?? context.commandId
  const fold = (events: readonly RecordedEvent[], from = decider.initial) =>
    events.reduce<State | null>((folded, event) => decider.evolve(folded, event), from)
  const eventIds: EventId[] = []
  // A retry uses the same ids, so that the store recognises an append whose response was lost.
  const eventId = (index: number): EventId => {
    eventIds[index] ??= (cause === undefined ? randomUUID() : uuidV5('command', cause, stream, String(index))) as EventId
    return eventIds[index]
  }
  /** Returns the result of this command if it was carried out before, or else null. The past then contains its events. */
  const earlierResult = (past: PastEvents): Handled<State> | null => {
    const first = past.events.findIndex((event) => event.id === eventId(0))
    if (first === -1) return null
    let end = first + 1
    while (past.events[end]?.id === eventId(end - first)) end++
    const events = past.events.slice(0, end)
    const { revision, position } = events[end - 1]!
    return { state: fold(events)!, revision, position, changed: true }
  }
  for (let conflicts = 0; ; conflicts++) {
    const past = await streams.read(stream)
    const state = fold(past.events)
    const owner = state === null ? null : decider.ownerOf(state)
    const earlier = earlierResult(past)
    if (context.create) {
      if (past.revision >= 0 && earlier === null) throw new KolbakError('already_exists', 'The resource exists already.')
    } else if (owner === null || owner.tenant !== caller.tenant || (caller.key_id !== null && owner.key_id !== caller.key_id))
      throw notFound()
    if (earlier !== null) return earlier
    // `If-Match` is checked before the decision, because a command that changes nothing would otherwise hide the failed precondition.
    if (ifMatch !== undefined && ifMatch !== '*' && !ifMatch.includes(past.revision)) throw preconditionFailed(past.revision)
    const decided = decider.decide(command, state)
    if (decided.length === 0) return { state: state!, revision: past.revision, position: past.position, changed: false }
    const author = {
      actor: caller.actor,
      tenant: caller.tenant,
      time: context.now,
      $correlationId: context.correlation_id,
      $causationId: context.causationId ?? null,
      ...(context.request === undefined ? {} : { request: context.request }),
    }
    const events = decided.map((event, i) => ({ id: eventId(i), type: event.type, data: event.data }))
    try {
      const append = () => streams.append(stream, events, context.create ? 'none' : past.revision, past, author)
      const appended = await step('command.append', () => retryUnavailable(append))
      return { state: fold(appended.events, state)!, revision: appended.revision, position: appended.position, changed: true }
    } catch (error) {
      if (!(error instanceof RevisionConflict)) throw error
      if (ifMatch !== undefined && ifMatch !== '*') throw preconditionFailed(error.actual)
      if (conflicts >= conflictRetries)
        throw new KolbakError('conflict', 'Other requests keep changing this resource: try again.', { cause: error })
      // The pause is random, so that callers with the same conflict do not collide again.
      await pause(firstPauseMs * 2 ** conflicts * (0.5 + Math.random()))
    }
  }
}

async function retryUnavailable<T>(append: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++)
    try {
      return await append()
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || tries >= unavailableRetries) throw error
    }
}
