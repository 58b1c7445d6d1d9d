import { errors, types } from 'cassandra-driver'
import { KolbakError } from '../../lib/errors.ts'

/**
 * Error of a call that Cassandra did not answer as it should: unreachable, too slow, too few replicas, overloaded. A later call may
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

/** Returns an error when Cassandra refuses to work as configured, so that waiting does not help. Returns null otherwise. */
export function refusalOf(error: unknown): KolbakError | null {
  const inner = error instanceof errors.NoHostAvailableError ? Object.values(error.innerErrors) : []
  const all = [error, ...inner]
  const refusal = all.find(
    (cause) =>
      cause instanceof errors.AuthenticationError ||
      cause instanceof errors.ArgumentError || // an unknown data centre, or invalid contact points
      (cause instanceof errors.ResponseError && refusals.has(cause.code)),
  )
  return refusal instanceof Error
    ? new KolbakError('invalid_config', `Cassandra cannot be used as CASSANDRA_* say: ${refusal.message}`, { cause: error })
    : null
}
