import { codeOf, KolbakError } from '../lib/errors.ts'

/** A fault of a request: its path, and the rule that the value breaks. */
export interface Detail {
  /** Names joined by dots (`scopes.0`, `limit`); empty for the body as a whole. */
  readonly path: string
  readonly message: string
}

/** Every error code of the API with its status. Only this table knows HTTP: the domain and the ports use the codes alone. */
export const statuses = {
  invalid_request: 400,
  invalid_json: 400,
  ambiguous_credentials: 400,
  unauthorized: 401,
  insufficient_scope: 403,
  scope_exceeds_caller: 403,
  tenant_suspended: 403,
  key_destroyed: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  conflict: 409,
  already_exists: 409,
  webhook_limit_reached: 409,
  webhook_deleted: 409,
  webhook_inactive: 409,
  replay_running: 409,
  job_finished: 409,
  idempotency_key_in_use: 409,
  default_tenant: 409,
  last_admin: 409,
  payload_expired: 410,
  precondition_failed: 412,
  body_too_large: 413,
  event_too_large: 413,
  record_too_large: 413,
  unsupported_media_type: 415,
  validation_failed: 422,
  invalid_cursor: 422,
  history_too_wide: 422,
  idempotency_key_reused: 422,
  too_many_failed_credentials: 429,
  rate_limited: 429,
  headers_too_large: 431,
  internal_error: 500,
  bus_full: 503,
  bus_unavailable: 503,
  store_unavailable: 503,
  event_not_readable: 503,
  delivery_log_unavailable: 503,
  database_unavailable: 503,
  not_ready: 503,
} as const
export type ErrorCode = keyof typeof statuses

/** An error of the API itself, with the headers that its status needs. */
export class ApiError extends KolbakError {
  declare readonly code: ErrorCode
  readonly headers: Readonly<Record<string, string>>
  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: readonly Detail[]; headers?: Readonly<Record<string, string>>; cause?: unknown } = {},
  ) {
    super(code, message, options)
    this.headers = options.headers ?? {}
  }
}
export const notFound = (headers: Readonly<Record<string, string>> = {}): ApiError =>
  new ApiError('not_found', 'There is no such resource, or it is not yours.', { headers })
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
}

const tryAgain = { 'retry-after': '1' }
/** Messages of ports and libraries can reveal internals. Callers get these sentences instead. */
const sentences: Partial<Record<ErrorCode, string>> = {
  bus_full: 'Too many messages are waiting to be stored: try again.',
  bus_unavailable: 'The message store failed, and the message may or may not be stored: send it again under the same id.',
  store_unavailable: 'The event store failed, and the change may or may not be stored: read the resource, then try again.',
  event_not_readable:
    'A newer version of Kolbak stored this resource, and this process cannot read it: try again, or tell the operator to upgrade.',
  delivery_log_unavailable: 'The history of deliveries cannot be reached now: try again.',
  database_unavailable: 'The database cannot be reached now: try again.',
  event_too_large: 'The change is too large to be stored.',
  record_too_large: 'The message is too large to be stored.',
  key_destroyed: 'The data of this tenant has been erased.',
  conflict: 'Others keep changing this resource: try again.',
}
const isErrorCode = (code: string | undefined): code is ErrorCode => code !== undefined && Object.hasOwn(statuses, code)

/** Returns what the caller may see of an error. An unknown error becomes `internal_error` without any detail. */
export function problemOf(error: unknown): Problem {
  const ownCode = codeOf(error)
  const code = isErrorCode(ownCode) ? ownCode : isEngineFailure(error) ? 'database_unavailable' : 'internal_error'
  const status = statuses[code]
  const isShown = error instanceof KolbakError && code !== 'internal_error'
  return {
    status,
    code,
    message: isShown
      ? error.message
      : (sentences[code] ?? 'Something went wrong on our side. The log has the details under the request id.'),
    ...(isShown && error.details !== undefined ? { details: error.details } : {}),
    headers: error instanceof ApiError ? error.headers : status === 503 ? tryAgain : {},
  }
}

/** SQLSTATE classes of a database that cannot be reached or is overloaded: connection (08), resources (53), operator intervention (57). */
const engineStates = /^(08|53|57)[0-9A-Z]{3}$/
const networkCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/
/** Messages of pg errors without a code: the connection was lost, or none became free in time. */
const lostConnection = /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/

function isEngineFailure(error: unknown): boolean {
  const code = codeOf(error)
  if (code !== undefined) return engineStates.test(code) || networkCodes.test(code)
  return error instanceof Error && lostConnection.test(error.message)
}

/** Returns the body of an error response, in the same envelope as other responses. */
export const errorEnvelope = ({ code, message, details }: Pick<Problem, 'code' | 'message' | 'details'>) => ({
  data: null,
  error: { code, message, ...(details === undefined ? {} : { details }) },
  pagination: null,
})
