import pg from 'pg'
import type { StreamName } from '../../events/streams.ts'
import { isProgrammingError } from '../../lib/errors.ts'
import { isDataError } from '../../lib/group-commit.ts'
import { EventRefused, StoreUnavailable } from '../../ports/event-store.ts'

/**
 * SQLSTATEs that say that the engine cannot work now: connection (08), rollback such as a deadlock (40), resources (53), an
 * operator or a crash (57), the system (58), an internal fault (XX), read-only after a failover (25006), a lock that was not
 * available in time (55P03). Any other error, such as a missing function, would occur again at a retry.
 */
const unavailable = /^(08|40|53|57|58|XX|25006|55P03)/

const isUnavailable = (error: unknown): boolean => {
  if (error instanceof pg.DatabaseError) return error.code !== undefined && unavailable.test(error.code)
  // Sockets, time-outs and pools fail with plain errors. A programming error says nothing about the engine.
  return error instanceof Error && !isProgrammingError(error)
}

/** Returns the error of the port that stands for an error of Postgres. */
export function toPortError(error: unknown, stream: StreamName | undefined): unknown {
  if (error instanceof EventRefused || error instanceof StoreUnavailable) return error
  if (stream !== undefined && isDataError(error))
    return new EventRefused(`stream ${stream}: Postgres cannot store an event of this append`, { cause: error })
  if (isUnavailable(error)) return new StoreUnavailable('the event store did not respond in time', { cause: error })
  return error
}
