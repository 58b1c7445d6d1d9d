import { codeOf } from '../lib/errors.ts'
import { tlsFault } from './tls-fault.ts'

/** A stable word for the reason why no status came. */
export type FailureReason =
  | 'address_refused'
  | 'connect_timeout'
  | 'connection_refused'
  | 'connection_reset'
  | 'dns_failed'
  | 'invalid_response'
  | 'invalid_url'
  | 'network_error'
  | 'timeout'
  | 'tls_failed'

/** The reason why no status came. The detail is a sentence that shows no address and quotes no byte of a response. */
export interface Failure {
  readonly reason: FailureReason
  readonly detail: string
}

export class RequestFailed extends Error {
  readonly failure: Failure
  constructor(failure: Failure, options?: ErrorOptions) {
    super(failure.detail, options)
    this.failure = failure
  }
}

const refused = { reason: 'connection_refused', detail: 'The host refused the connection: nothing listens on the port.' } as const
const timedOut = { reason: 'connect_timeout', detail: 'The host did not accept the connection in time.' } as const
const reset = { reason: 'connection_reset', detail: 'The connection was reset.' } as const
const unreachable = { reason: 'network_error', detail: 'The network has no route to the host.' } as const
const byCode: Readonly<Record<string, Failure>> = {
  ECONNREFUSED: refused,
  ETIMEDOUT: timedOut,
  ECONNRESET: reset,
  ECONNABORTED: reset,
  EPIPE: reset,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ENOTFOUND: { reason: 'dns_failed', detail: 'The name of the host does not resolve.' },
  EAI_AGAIN: { reason: 'dns_failed', detail: 'The name servers of the host did not respond in time.' },
}

/** Returns the failure for an error of name resolution, a socket or a TLS session. The history shows it. */
export function failureOf(error: unknown): Failure {
  if (error instanceof RequestFailed) return error.failure
  const code = codeOf(error) ?? ''
  const failure = byCode[code]
  if (failure !== undefined) return failure
  const fault = tlsFault(error)
  if (fault !== null) return { reason: 'tls_failed', detail: fault }
  return { reason: 'network_error', detail: /^E[A-Z0-9]{2,20}$/.test(code) ? `The network reported ${code}.` : 'The request failed.' }
}
