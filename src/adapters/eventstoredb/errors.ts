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

/** Error of a call that got no answer in time. The node may be frozen. */
export class NotAnswered extends StoreUnavailable {}
/** Error of a call that the engine refuses to this user. A retry cannot help before the user or its rights are changed. */
class StoreDenied extends StoreUnavailable {}

/**
 * Returns the error of the port that stands for an error of the client. WrongExpectedVersionError is returned unchanged, because its
 * meaning depends on the expected revision.
 */
export function toPortError(error: unknown, stream: string): unknown {
  if (error === null || error instanceof StoreUnavailable || error instanceof WrongExpectedVersionError) return error
  if (error instanceof MaxAppendSizeExceededError)
    return new EventTooLarge(`stream ${stream}: an append beyond the ${error.maxAppendSize} bytes that this EventStoreDB takes`, {
      cause: error,
    })
  if (error instanceof StreamDeletedError)
    return new EventRefused(`stream ${stream}: it was tombstoned in EventStoreDB and cannot be used again`, { cause: error })
  if (error instanceof AccessDeniedError)
    return new StoreDenied(
      'EventStoreDB denies access: the user in its connection string must be able to write, and to read $all (by default, be in $admins)',
      { cause: error },
    )
  if (codeOf(error) === grpcStatus.unauthenticated)
    return new StoreDenied('EventStoreDB does not accept the user and password in EVENTSTOREDB_URL', { cause: error })
  if (codeOf(error) === grpcStatus.invalidArgument)
    return new EventRefused(`stream ${stream}: EventStoreDB cannot do this with it`, { cause: error })
  // Sockets, deadlines and streams fail with many errors. A programming error is none of these.
  if (isProgrammingError(error)) return error
  return new StoreUnavailable(reasonOf(error), { cause: error })
}

/** Whether the same call may succeed a moment later, because the engine is unavailable or slow. */
export const isPassing = (error: unknown): boolean => error instanceof StoreUnavailable && !(error instanceof StoreDenied)

/** Whether the error means that the node does not lead or does not answer. Another node may succeed. */
export const isLeaderless = (error: unknown): boolean =>
  error instanceof NotLeaderError ||
  error instanceof UnavailableError ||
  error instanceof CancelledError ||
  error instanceof DeadlineExceededError ||
  codeOf(error) === grpcStatus.deadlineExceeded ||
  error instanceof NotAnswered

const codeOf = (error: unknown): number | undefined =>
  error instanceof Error && (isCommandError(error) || 'code' in error) ? Number((error as { code?: unknown }).code) : undefined

/** Says for the text of a failed connection what is wrong and what to do. The first entry that matches is used. */
const reasons: readonly [RegExp, string][] = [
  [/certificate has expired|CERT_HAS_EXPIRED/, 'the certificate of EventStoreDB has expired: renew it on the server'],
  [
    /does not match certificate's altnames|ERR_TLS_CERT_ALTNAME_INVALID/,
    'the certificate of EventStoreDB is for another name than the host in EVENTSTOREDB_URL: use the name that it was made for',
  ],
  [
    /self-signed certificate|unable to (?:verify the first|get (?:local )?issuer) certificate/,
    'the certificate of EventStoreDB is from an authority that is not known here: name its certificate with tlsCAFile in EVENTSTOREDB_URL',
  ],
  [
    /wrong version number|packet length too long|EPROTO|ERR_SSL/,
    'EventStoreDB does not speak TLS on this port: add ?tls=false to EVENTSTOREDB_URL, or turn TLS on in the server',
  ],
  [/Name resolution failed|ENOTFOUND|EAI_AGAIN/, 'the host in EVENTSTOREDB_URL cannot be resolved: check its name'],
  [/ECONNREFUSED/, 'nothing listens at the host and port in EVENTSTOREDB_URL'],
  [
    /Connection dropped|ECONNRESET|Protocol error|Parse Error/,
    'EventStoreDB ends the connection at once: where it speaks TLS, take ?tls=false out of EVENTSTOREDB_URL',
  ],
]
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return reasons.find(([pattern]) => pattern.test(text))?.[1] ?? 'the event store did not answer, or not in time'
}
