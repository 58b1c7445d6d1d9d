import { randomUUID } from 'node:crypto'
import { type CommandContext, type Decider, type Handled, handle } from '../commands/handler.ts'
import type { DecidedEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import { step } from '../events/steps.ts'
import type { StreamName } from '../events/streams.ts'
import { noteAcknowledgedChange } from '../projections/acknowledged-changes.ts'
import { projectionNames } from '../projections/names.ts'
import type { ApiDependencies } from './dependencies.ts'
import { etagHeader, parseIfMatch } from './etag.ts'
import type { Identity } from './identity.ts'
import { awaitProjection } from './projection-lag.ts'
import type { RawRequest } from './route.ts'

/** The parts of a request that a command needs. */
export type CommandRequest = Identity & Pick<RawRequest, 'requestId' | 'headers' | 'facts'>

/**
 * Carries out a command for a request, on behalf of its caller and with its `If-Match`, and waits for the read model. The returned headers are the
 * new `ETag` and, if the read model was not up to date in time, `Projection-Lag`. Throws the errors of the command handler.
 */
type ExecuteCommand = <State, Command, Event extends DecidedEvent>(
  decider: Decider<State, Command, Event>,
  stream: StreamName,
  command: Command,
  request: CommandRequest,
  options: { readModel: string; create?: boolean; commandId?: EventId },
) => Promise<Handled<State> & { headers: Record<string, string> }>

/** Returns a new id of a command. `plan` stores it, so that a request that is repeated under its `Idempotency-Key` repeats the same command. */
export const newCommandId = (): EventId => randomUUID() as EventId

export function createExecuteCommand(deps: Pick<ApiDependencies, 'streams' | 'waiter' | 'now' | 'settings' | 'pool'>): ExecuteCommand {
  return async (decider, stream, command, { caller, requestId, headers, facts }, { readModel, create = false, commandId }) => {
    const ifMatch = parseIfMatch(headers['if-match'])
    const context: CommandContext = {
      caller,
      correlation_id: requestId,
      request: facts(),
      now: new Date(deps.now()).toISOString(),
      ...(commandId === undefined ? {} : { commandId }),
      ...(create ? { create } : ifMatch === undefined ? {} : { ifMatch }),
    }
    const handled = await handle(deps.streams, decider, stream, command, context)
    const { changed, position, revision } = handled
    const lag = changed && position !== null ? await awaitProjection(deps, readModel, position, stream) : {}
    if (position !== null && 'projection-lag' in lag && readModel === projectionNames.webhooks)
      await step('command.note', () => noteAcknowledgedChange(deps.pool, position))
    return { ...handled, headers: { ...etagHeader(revision), ...lag } }
  }
}
