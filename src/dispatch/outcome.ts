/** The outcome of an attempt. Only a transient failure is retried. */
type AttemptOutcome = 'success' | 'permanent' | 'transient'

/**
 * Status codes for which a repetition is useless. 401, 403 and 404 are not among them: a receiver may return them during a faulty deployment, and its
 * deliveries must not become dead letters because of it. Redirects are not followed and count as transient.
 */
const permanentCodes = new Set([400, 405, 406, 410, 411, 413, 414, 415, 422, 501])

/** Returns the outcome of a request. @param code the HTTP status, or null if no response head arrived */
export function outcomeOf(code: number | null): AttemptOutcome {
  if (code === null) return 'transient'
  if (code >= 200 && code < 300) return 'success'
  return permanentCodes.has(code) ? 'permanent' : 'transient'
}
