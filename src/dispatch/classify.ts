/** What the answer to one request means for its delivery. */
export type Verdict = 'success' | 'permanent' | 'transient'

/**
 * Answers that no repetition changes. 401, 403 and 404 are not among them: a minute of a bad deploy must not dead-letter
 * a day of events. Redirects are not followed and count as transient.
 */
const permanent = new Set([400, 405, 406, 410, 411, 413, 414, 415, 422, 501])

/** @param code the HTTP status, or null when no head of an answer came */
export function classify(code: number | null): Verdict {
  if (code === null) return 'transient'
  if (code >= 200 && code < 300) return 'success'
  return permanent.has(code) ? 'permanent' : 'transient'
}
