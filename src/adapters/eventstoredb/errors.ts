import {
  AccessDeniedError,
  isCommandError,
  MaxAppendSizeExceededError,
  StreamDeletedError,
  WrongExpectedVersionError,
} from '@eventstore/db-client'
import { EventRefused, EventTooLarge, StoreUnavailable } from '../../ports/event-store.ts'

/** gRPC's code for a request that no server can do. */
const invalidArgument = 3

/**
 * What a caller of the port is told of an error of the client. WrongExpectedVersionError stays what it is: what it means
 * depends on what was expected.
 */
export function toPortError(error: unknown, stream: string): unknown {
  if (error instanceof StoreUnavailable || error instanceof WrongExpectedVersionError) return error
  if (error instanceof MaxAppendSizeExceededError)
    return new EventTooLarge(`stream ${stream}: an append beyond the ${error.maxAppendSize} bytes that this EventStoreDB takes`, {
      cause: error,
    })
  if (error instanceof StreamDeletedError)
    return new EventRefused(`stream ${stream}: it was tombstoned in EventStoreDB and cannot be used again`, { cause: error })
  if (error instanceof AccessDeniedError)
    return new StoreUnavailable(
      'EventStoreDB denies access: the user in its connection string must be able to write, and to read $all (by default, be in $admins)',
      { cause: error },
    )
  if (error instanceof Error && isCommandError(error) && Number(error.code) === invalidArgument)
    return new EventRefused(`stream ${stream}: EventStoreDB cannot do this with it`, { cause: error })
  // Sockets, deadlines and streams fail with many errors; these three are mistakes in code.
  if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) return error
  return new StoreUnavailable('the event store did not answer, or not in time', { cause: error })
}

/** Whether the same call may succeed a moment later: the engine is away or slow. */
export const isPassing = (error: unknown): boolean => error instanceof StoreUnavailable && !(error.cause instanceof AccessDeniedError)
