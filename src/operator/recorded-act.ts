import { randomUUID } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { createCommandStreams } from '../commands/command-streams.ts'
import { appendLogEvent } from '../commands/log-events.ts'
import { callerOfSudo } from '../config/config.ts'
import type { EventId } from '../events/ids.ts'
import type { OperatorEvents } from '../events/operator.ts'
import { codeOf } from '../lib/errors.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { type EventStore, RevisionConflict } from '../ports/event-store.ts'
import { version } from '../service/version.ts'

type Acted = OperatorEvents['OperatorActed']
/** A command of an operator. A file among the arguments is named without its folder. */
export type Act = Pick<Acted, 'command' | 'arguments'>

interface RecordDeps {
  readonly store: Pick<EventStore, 'read' | 'append'>
  readonly keyring: Keyring
  readonly macs: EventMacs
  readonly log: Log
}

/** How often an append is tried again because the service has appended to the same stream. */
const maxConflicts = 10

/** Appends the event about an act, and returns its id. @param begun the id of the event that says that the act began */
async function record({ store, keyring, macs }: RecordDeps, data: Acted, begun?: EventId): Promise<EventId> {
  const streams = createCommandStreams(store as EventStore, keyring, { app: version, macs })
  const id = randomUUID() as EventId
  const event = { id, type: 'OperatorActed', data, actor: 'system:operator', now: new Date(), cause: begun ?? null } as const
  for (let conflicts = 0; ; conflicts++)
    try {
      await appendLogEvent({ store, streams }, event)
      return id
    } catch (error) {
      if (!(error instanceof RevisionConflict) || conflicts >= maxConflicts) throw error
    }
}

/**
 * Appends to the audit log that an operator begins a command, before the command has an effect. Returns the id of the event, or null if the audit log
 * has not started, because its first event must be LogStarted. Throws if the event cannot be stored. The command must then not be carried out.
 */
export const recordBegin = (deps: RecordDeps, act: Act): Promise<EventId | null> =>
  deps.macs.start === null ? Promise.resolve(null) : record(deps, { ...act, operator: thisOperator(), outcome: 'begun', code: null })

/** Appends to the audit log how a command ended. If that fails, it is only logged, because the effects of the command cannot be taken back. */
export async function recordEnd(deps: RecordDeps, act: Act, begun: EventId | null, failure: { readonly error: unknown } | null) {
  if (begun === null) return
  const outcome =
    failure === null ? ({ outcome: 'done', code: null } as const) : ({ outcome: 'failed', code: codeOf(failure.error) ?? null } as const)
  await record(deps, { ...act, operator: thisOperator(), ...outcome }, begun).catch((error: unknown) =>
    deps.log.warn({ error, ...act, ...outcome }, 'operator.end_not_recorded'),
  )
}

/** Appends that a command is done which could not be recorded before, because there was no audit log. */
export async function recordDone(deps: RecordDeps, act: Act): Promise<void> {
  if (deps.macs.start !== null) await record(deps, { ...act, operator: thisOperator(), outcome: 'done', code: null })
}

/** Carries out a command of an operator between two events of the audit log. */
export async function recorded<T>(deps: RecordDeps, act: Act, work: () => Promise<T>): Promise<T> {
  const begun = await recordBegin(deps, act)
  let result: T
  try {
    result = await work()
  } catch (error) {
    await recordEnd(deps, act, begun, { error })
    throw error
  }
  await recordEnd(deps, act, begun, null)
  return result
}

/** Returns the account that runs this process. With sudo, it is the account that called sudo. */
function thisOperator(): Acted['operator'] {
  const host = hostname()
  const user = callerOfSudo()
  if (user !== undefined) return { user, host }
  try {
    return { user: userInfo().username, host }
  } catch {
    return { user: `uid ${process.getuid?.() ?? 'unknown'}`, host } // a container may run under a number that has no name
  }
}
