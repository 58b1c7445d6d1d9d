import {
  AccessDeniedError,
  CancelledError,
  DeadlineExceededError,
  isCommandError,
  MaxAppendSizeExceededError,
  NotLeaderError,
  StreamDeletedError,
  UnavailableError,
  WrongExpectedVersionError,
} from '@eventstore/db-client'
import { isProgrammingError } from '../../lib/errors.ts'
import { EventRefused, EventTooLarge, StoreUnavailable } from '../../ports/event-store.ts'

/** gRPC's status codes that mean more than "it failed". */
const grpcStatus = { invalidArgument: 3, deadlineExceeded: 4, unauthenticated: 16 } as const

/** The error of a call that got no response in time. The node may be frozen. */
export class TimedOut extends StoreUnavailable {}
/** The error of a call that the engine refuses to this user. A retry cannot help before the user or its rights are changed. */
class StoreDenied extends StoreUnavailable {}

/**
 * Returns the error of the port that stands for an error of the client. WrongExpectedVersionError is returned unchanged, because its
 * meaning depends on the expected revision.
 */
export function toPortError(error: unknown, stream: string): unknown {
  if (error === null || [StoreUnavailable, EventRefused, WrongExpectedVersionError].some((type) => error instanceof type)) return error
  if (error instanceof MaxAppendSizeExceededError)
    return new EventTooLarge(
      `stream ${stream}: the append is larger than the ${error.maxAppendSize} bytes that this EventStoreDB accepts`,
      {
        cause: error,
      },
    )
  if (error instanceof StreamDeletedError)
    return new EventRefused(`stream ${stream}: the stream was tombstoned in EventStoreDB and cannot be used again`, { cause: error })
  // The client has one class for an unknown user or password and for a missing right.
  if (codeOf(error) === grpcStatus.unauthenticated)
    return new StoreDenied('EventStoreDB does not accept the user and password in EVENTSTOREDB_URL', { cause: error })
  if (error instanceof AccessDeniedError)
    return new StoreDenied(
      `EventStoreDB denies the user in EVENTSTOREDB_URL access to ${stream}: it must be able to write streams and their metadata, and to read $all (as members of $admins are)`,
      { cause: error },
    )
  if (codeOf(error) === grpcStatus.invalidArgument)
    return new EventRefused(`stream ${stream}: EventStoreDB refuses the request as invalid`, { cause: error })
  // Sockets, deadlines and streams fail with many errors. A programming error is none of these.
  if (isProgrammingError(error)) return error
  return new StoreUnavailable(reasonOf(error), { cause: error })
}

/** Returns whether the same call may succeed a moment later, because the engine is unavailable or slow. */
export const isPassing = (error: unknown): boolean => error instanceof StoreUnavailable && !(error instanceof StoreDenied)

/** Returns whether the error means that the node does not lead or does not respond. Another node may succeed. */
export const isLeaderless = (error: unknown): boolean =>
  error instanceof NotLeaderError ||
  error instanceof UnavailableError ||
  error instanceof CancelledError ||
  error instanceof DeadlineExceededError ||
  codeOf(error) === grpcStatus.deadlineExceeded ||
  error instanceof TimedOut

const codeOf = (error: unknown): number | undefined =>
  error instanceof Error && (isCommandError(error) || 'code' in error) ? Number((error as { code?: unknown }).code) : undefined

/** Patterns for the message of a failed connection, each with a sentence that says what is wrong and what to do. The first match counts. */
const reasons: readonly [RegExp, string][] = [
  [/certificate has expired|CERT_HAS_EXPIRED/, 'the certificate of EventStoreDB has expired: renew it on the server'],
  [
    /certificate is not yet valid|CERT_NOT_YET_VALID/,
    'the certificate of EventStoreDB is not valid yet: compare the clock of this machine with that of the server',
  ],
  [
    /does not match certificate's altnames|ERR_TLS_CERT_ALTNAME_INVALID/,
    'the certificate of EventStoreDB is for another name than the host in EVENTSTOREDB_URL, or the host that the node advertises: use the name in the certificate',
  ],
  [
    /self-signed certificate|unable to (?:verify the first|get (?:local )?issuer) certificate/,
    'the certificate of EventStoreDB is from an unknown authority: name the certificate of the authority with tlsCAFile in EVENTSTOREDB_URL',
  ],
  [
    /wrong version number|packet length too long|EPROTO|ERR_SSL|before secure TLS connection was established/,
    'EventStoreDB does not speak TLS on this port: add ?tls=false to EVENTSTOREDB_URL, or turn TLS on in the server',
  ],
  [/Name resolution failed|ENOTFOUND|EAI_AGAIN/, 'the host in EVENTSTOREDB_URL cannot be resolved: check its name'],
  [/ECONNREFUSED/, 'nothing listens at the host and port in EVENTSTOREDB_URL'],
  [/EHOSTUNREACH|ENETUNREACH|ETIMEDOUT/, 'there is no way to the host in EVENTSTOREDB_URL: check the network and its firewalls'],
  [
    /UNIMPLEMENTED|HTTP status code/,
    'the server at the host and port in EVENTSTOREDB_URL is not EventStoreDB, but perhaps a proxy in front of it',
  ],
  [
    /Failed to connect|Connection dropped|ECONNRESET|socket hang up|Protocol error|Parse Error/,
    'EventStoreDB ends the connection at once: if the server speaks TLS, remove ?tls=false from EVENTSTOREDB_URL',
  ],
  [/Server Is Not Ready/i, 'this node of EventStoreDB is not ready: it is starting, or its cluster has no leader'],
  [/Leader info available/, 'the node of EventStoreDB that was asked does not lead its cluster: name all nodes in EVENTSTOREDB_URL'],
]
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const rankOf = (error: unknown): number => {
  const rank = reasons.findIndex(([pattern]) => pattern.test(textOf(error)))
  return rank < 0 ? reasons.length : rank
}
const reasonOf = (error: unknown): string => reasons[rankOf(error)]?.[1] ?? 'EventStoreDB did not respond in time'

/** Returns the error that tells an operator most. A node with a faulty certificate says more than one that does not run. */
export const mostTelling = (errors: readonly unknown[]): unknown => errors.toSorted((a, b) => rankOf(a) - rankOf(b))[0]
