import { codeOf, KolbakError } from '../lib/errors.ts'

/** One fault of a request: where, and what is expected there. */
export interface Detail {
  /** Names joined by dots (`scopes.0`, `limit`); empty for the body as a whole. */
  readonly path: string
  readonly message: string
}

/** Every error code that a caller can meet, and its status. The domain and the ports know nothing of HTTP: this table does. */
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
  delivery_log_unavailable: 503,
  database_unavailable: 503,
  not_ready: 503,
} as const
export type ErrorCode = keyof typeof statuses

/** An error of the API itself, with the headers that its status asks for. */
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
/** What is refused for want of a scope, and which one (RFC 6750, 3.1). */
export const lacksScope = (scope: string): ApiError =>
  new ApiError('insufficient_scope', `This needs the scope ${scope}.`, {
    headers: { 'www-authenticate': `Bearer realm="kolbak", error="insufficient_scope", scope="${scope}"` },
  })
export const invalid = (details: readonly Detail[]): ApiError =>
  new ApiError('validation_failed', 'The request holds values that are not accepted: see details.', { details })

/** What a caller is told of an error. */
export interface Problem {
  readonly status: number
  readonly code: ErrorCode
  readonly message: string
  readonly details?: readonly Detail[]
  readonly headers: Readonly<Record<string, string>>
}

const tryAgain = { 'retry-after': '1' }
/** Errors of ports and libraries say things of our engines: callers are told these sentences instead. */
const sentences: Partial<Record<ErrorCode, string>> = {
  bus_full: 'More messages are waiting to be stored than fit: try again.',
  bus_unavailable: 'Messages cannot be stored now, and whether this one was is unknown: send it again under the same id.',
  store_unavailable: 'Changes cannot be stored now, and whether this one was is unknown: read the resource, then try again.',
  delivery_log_unavailable: 'The history of deliveries cannot be reached now: try again.',
  database_unavailable: 'The database cannot be reached now: try again.',
  event_too_large: 'The change is larger than what can be stored.',
  record_too_large: 'The message is larger than what can be stored.',
  key_destroyed: 'The data of this tenant has been erased.',
  conflict: 'Others keep changing this resource: try again.',
}
const isErrorCode = (code: string | undefined): code is ErrorCode => code !== undefined && Object.hasOwn(statuses, code)

/** Unknown errors say nothing of themselves to the caller; their code is `internal_error`. */
export function problemOf(error: unknown): Problem {
  const known = codeOf(error)
  const code = isErrorCode(known) ? known : isEngineFailure(error) ? 'database_unavailable' : 'internal_error'
  const status = statuses[code]
  const ours = error instanceof KolbakError && code !== 'internal_error'
  return {
    status,
    code,
    message: ours ? error.message : (sentences[code] ?? 'Something went wrong on our side. Its trace can be found by the request id.'),
    ...(ours && error.details !== undefined ? { details: error.details } : {}),
    headers: error instanceof ApiError ? error.headers : status === 503 ? tryAgain : {},
  }
}

/** SQLSTATE classes of a database that is away or overloaded: connection (08), resources (53), operator intervention (57). */
const engineStates = /^(08|53|57)[0-9A-Z]{3}$/
const networkCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)/
/** What pg says without a code: its client lost the connection, or waited too long for one. */
const lostConnection = /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/

export function isEngineFailure(error: unknown): boolean {
  const code = codeOf(error)
  if (code !== undefined) return engineStates.test(code) || networkCodes.test(code)
  return error instanceof Error && lostConnection.test(error.message)
}

/** The body of an error in the envelope that all answers but single webhooks have. */
export const errorEnvelope = ({ code, message, details }: Pick<Problem, 'code' | 'message' | 'details'>) => ({
  data: null,
  error: { code, message, ...(details === undefined ? {} : { details }) },
  pagination: null,
})
