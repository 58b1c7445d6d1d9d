import { errors, types } from 'cassandra-driver'
import { KolbakError } from '../../lib/errors.ts'

/**
 * The error of a call that failed because Cassandra was unreachable, too slow or overloaded, or had too few replicas. A later call may
 * succeed.
 */
export class DeliveryLogUnavailable extends Error {
  readonly code = 'delivery_log_unavailable'
  constructor(cause: unknown) {
    super(`Cassandra: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** Returns the error that this adapter throws for a failed call. Programming errors (such as TypeError) are returned as they are. */
export const asUnavailable = (error: unknown): unknown =>
  error instanceof TypeError || error instanceof RangeError || error instanceof KolbakError || error instanceof DeliveryLogUnavailable
    ? error
    : new DeliveryLogUnavailable(error)

const refusals = new Set<number>([types.responseErrorCodes.badCredentials, types.responseErrorCodes.unauthorized])

/** Returns the error if Cassandra refuses the configuration, so that waiting does not help, or else null. */
export function refusalOf(error: unknown): KolbakError | null {
  const inner = error instanceof errors.NoHostAvailableError ? Object.values(error.innerErrors) : []
  const errorsOfNodes = [error, ...inner]
  const refusal = errorsOfNodes.find(
    (cause) =>
      cause instanceof errors.AuthenticationError ||
      cause instanceof errors.ArgumentError || // the data centre is unknown, or the contact points are invalid
      (cause instanceof errors.ResponseError && refusals.has(cause.code)),
  )
  return refusal instanceof Error
    ? new KolbakError('invalid_config', `Cassandra refuses the values of CASSANDRA_*: ${refusal.message}`, { cause: error })
    : null
}
