import { dayOf, msPerDay } from '../lib/days.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'

/** A fault of a request: its path, and the rule that the value breaks. */
export interface Detail {
  /** The names that lead to the value, joined by dots (`scopes.0`, `limit`). It is empty for the body as a whole. */
  readonly path: string
  readonly message: string
}

interface ErrorSpec {
  readonly status: number
  /** The default sentence of the error, which is also the example in `/openapi.json`. */
  readonly message: string
}
/** Every error code of the API. Only this table contains HTTP statuses, because the domain and the ports use only the codes. */
const errors = {
  invalid_request: { status: 400, message: 'If-Match must hold ETags in double quotes, or *.' },
  invalid_json: { status: 400, message: 'The body is not valid JSON.' },
  ambiguous_credentials: { status: 400, message: 'Send either a bearer token or x-api-key, not both.' },
  unauthorized: { status: 401, message: 'The bearer token is wrong or no longer valid: get a new one from /v1/auth.' },
  insufficient_scope: { status: 403, message: 'This needs a scope that the credential does not have.' },
  scope_exceeds_caller: { status: 403, message: 'A key cannot have a scope that your own token lacks.' },
  tenant_suspended: { status: 403, message: 'This account is suspended: nothing is accepted for it.' },
  key_destroyed: { status: 403, message: 'The data of this tenant has been erased.' },
  not_found: { status: 404, message: 'There is no such resource, or it is not yours.' },
  method_not_allowed: { status: 405, message: 'This path accepts only GET, HEAD.' },
  not_acceptable: { status: 406, message: 'The audit log is sent as application/x-ndjson or text/csv.' },
  request_timeout: { status: 408, message: 'The request took too long to arrive.' },
  conflict: { status: 409, message: 'Other requests keep changing this resource: try again.' },
  already_exists: { status: 409, message: 'It exists already.' },
  webhook_limit_reached: { status: 409, message: 'This account has 1000 webhooks, which is its limit: delete one first.' },
  webhook_deleted: { status: 409, message: 'The webhook has been deleted: there is no endpoint to deliver the event to.' },
  webhook_inactive: { status: 409, message: 'The webhook is not active: set is_active to true first.' },
  replay_running: { status: 409, message: 'A replay of this webhook is running: wait until it has ended, or cancel it.' },
  job_finished: { status: 409, message: 'The job has already ended: there is nothing to cancel.' },
  idempotency_key_in_use: { status: 409, message: 'The same request is being carried out: send it again in a moment to get its response.' },
  default_tenant: { status: 409, message: 'The tenant `default` cannot be suspended: its admins could not resume it.' },
  not_suspended: { status: 409, message: 'Only a suspended tenant can be erased: suspend it first.' },
  tenant_erased: { status: 409, message: 'This tenant is erased: it cannot be changed any more.' },
  on_hold: { status: 409, message: 'A legal hold forbids the erasure until 2027-03-31T00:00:00.000Z.' },
  last_admin: { status: 409, message: 'This is the last client with scope admin: issue another one first.' },
  payload_expired: { status: 410, message: 'The payload is no longer kept: the event cannot be delivered again.' },
  payload_erased: { status: 410, message: 'The payload was erased: the event cannot be delivered again.' },
  precondition_failed: { status: 412, message: 'The resource is at revision 4, which If-Match does not name: read it again.' },
  body_too_large: { status: 413, message: 'The body is larger than 65536 bytes, which is the limit of this route.' },
  event_too_large: { status: 413, message: 'The change is too large to be stored.' },
  record_too_large: { status: 413, message: 'The message is too large to be stored.' },
  unsupported_media_type: { status: 415, message: 'The body must be application/json.' },
  validation_failed: { status: 422, message: 'The request holds values that are not accepted: see details.' },
  invalid_cursor: { status: 422, message: 'The cursor is not the next_cursor of a page.' },
  history_too_wide: {
    status: 422,
    message: 'Too few of the deliveries in this range are of that kind: narrow the range by `since` and `until`.',
  },
  idempotency_key_reused: { status: 422, message: 'This Idempotency-Key was sent with another request: use a new key for this one.' },
  too_many_failed_credentials: { status: 429, message: 'Too many wrong credentials came from this address: wait a minute.' },
  stream_running: { status: 429, message: 'A stream of the audit log runs for this caller already: read it to its end first.' },
  too_many_streams: { status: 429, message: 'This caller has 5 live streams open, which is the limit: close one first.' },
  rate_limited: { status: 429, message: 'The limit of 50 requests a second is exceeded: try again later.' },
  headers_too_large: { status: 431, message: 'The headers are too large.' },
  key_missing: { status: 500, message: 'The data key of this account is missing: an operator must put it back.' },
  erased_without_record: { status: 500, message: 'The data key of this account is gone without an erasure: an operator must put it back.' },
  internal_error: { status: 500, message: 'Something went wrong on our side. The log has the details under the request id.' },
  bus_full: { status: 503, message: 'Too many messages are waiting to be stored: try again.' },
  bus_unavailable: {
    status: 503,
    message: 'The message store failed, and the message may or may not be stored: send it again under the same id.',
  },
  store_unavailable: {
    status: 503,
    message: 'The event store failed, and the change may or may not be stored: read the resource, then try again.',
  },
  event_not_readable: {
    status: 503,
    message: 'A newer version of Kolbak stored this resource, and this process cannot read it: try again, or tell the operator to upgrade.',
  },
  stream_faulty: {
    status: 503,
    message: 'The history of this resource was changed from outside: an operator must look at it.',
  },
  delivery_log_unavailable: { status: 503, message: 'The history of deliveries cannot be reached now: try again.' },
  database_unavailable: { status: 503, message: 'The database cannot be reached now: try again.' },
  not_ready: { status: 503, message: 'Not ready: try again.' },
} as const satisfies Readonly<Record<string, ErrorSpec>>
export type ErrorCode = keyof typeof errors
export const errorCodes = Object.keys(errors) as readonly ErrorCode[]
export const errorSpec = (code: ErrorCode): ErrorSpec => errors[code]

/** An error of the API itself, with the headers that its status needs. */
export class ApiError extends KolbakError {
  declare readonly code: ErrorCode
  readonly headers: Readonly<Record<string, string>>
  /** RFC 3339 time since which resources of this kind are kept. Only errors about such resources have it. */
  readonly retainedSince: string | undefined
  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: readonly Detail[]; headers?: Readonly<Record<string, string>>; cause?: unknown; retainedSince?: string } = {},
  ) {
    super(code, message, options)
    this.headers = options.headers ?? {}
    this.retainedSince = options.retainedSince
  }
}
export const notFound = (headers: Readonly<Record<string, string>> = {}): ApiError =>
  new ApiError('not_found', 'There is no such resource, or it is not yours.', { headers })
/**
 * The error for an event, a delivery or an attempt that is not there. It says since when they are kept, because one that the retention has dropped
 * cannot be told from one that never was.
 */
export const notRetained = (
  { settings, now }: { readonly settings: { readonly retentionDays: number }; now(): number },
  headers: Readonly<Record<string, string>> = {},
): ApiError =>
  new ApiError('not_found', notFound().message, {
    headers,
    retainedSince: `${dayOf(now() - settings.retentionDays * msPerDay)}T00:00:00.000Z`, // whole days are dropped
  })
export const webhookInactive = (): ApiError => new ApiError('webhook_inactive', 'The webhook is not active: set is_active to true first.')
/** The error for a missing scope, with the header of RFC 6750, 3.1. */
export const lacksScope = (scope: string): ApiError =>
  new ApiError('insufficient_scope', `This needs the scope ${scope}.`, {
    headers: { 'www-authenticate': `Bearer realm="kolbak", error="insufficient_scope", scope="${scope}"` },
  })
export const invalid = (details: readonly Detail[]): ApiError =>
  new ApiError('validation_failed', 'The request holds values that are not accepted: see details.', { details })

/** An error as it is shown to the caller. */
export interface Problem {
  readonly status: number
  readonly code: ErrorCode
  readonly message: string
  readonly details?: readonly Detail[]
  readonly headers: Readonly<Record<string, string>>
  readonly retained_since?: string
}

const tryAgain = { 'retry-after': '1' }
const isErrorCode = (code: string | undefined): code is ErrorCode => code !== undefined && Object.hasOwn(errors, code)

/** Returns the part of an error that the caller may see. An unknown error becomes `internal_error` without any detail. */
export function problemOf(error: unknown): Problem {
  const ownCode = codeOf(error)
  const code = isErrorCode(ownCode) ? ownCode : isEngineFailure(error) ? 'database_unavailable' : 'internal_error'
  const { status, message } = errorSpec(code)
  // Messages of ports and libraries can reveal internals. Callers get the sentence of the code instead.
  const isShown = error instanceof KolbakError && code !== 'internal_error'
  return {
    status,
    code,
    message: isShown ? error.message : message,
    ...(isShown && error.details !== undefined ? { details: error.details } : {}),
    ...(error instanceof ApiError && error.retainedSince !== undefined ? { retained_since: error.retainedSince } : {}),
    headers: error instanceof ApiError ? error.headers : status === 503 ? tryAgain : {},
  }
}

/** SQLSTATE classes of a database that cannot be reached or is overloaded: connection (08), resources (53), operator intervention (57). */
const engineStates = /^(08|53|57)[0-9A-Z]{3}$/
/**
 * SQLSTATEs of a missing column or table. A newer version of Kolbak has just switched a read model to its own tables, and this process is
 * about to end (see service/read-model-versions.ts).
 */
const otherTables = /^(42703|42P01)$/
const networkCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/
/** Messages of pg errors without a code: the connection was lost, or none became free in time. */
const lostConnection = /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/

function isEngineFailure(error: unknown): boolean {
  const code = codeOf(error)
  if (code !== undefined) return engineStates.test(code) || otherTables.test(code) || networkCodes.test(code)
  return error instanceof Error && lostConnection.test(error.message)
}

/** Returns the body of an error response, in the same envelope as other responses. */
export const errorEnvelope = ({
  code,
  message,
  details,
  retained_since,
}: Pick<Problem, 'code' | 'message' | 'details' | 'retained_since'>) => ({
  data: null,
  error: { code, message, ...(details === undefined ? {} : { details }), ...(retained_since === undefined ? {} : { retained_since }) },
  pagination: null,
})
