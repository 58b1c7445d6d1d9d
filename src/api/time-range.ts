import { invalid } from './errors.ts'
import { toUtc } from './rfc3339.ts'

/** Returns a time of a request in UTC, with milliseconds. Throws validation_failed with the path of the field. */
export function utcOf(path: string, text: string): string {
  const time = toUtc(text)
  if (time === null) throw invalid([{ path, message: 'must be an RFC 3339 time' }])
  return time
}
/** Returns `since` and `until` of a query in UTC, with milliseconds. */
export const parseTimeRange = ({ since, until }: { since?: string; until?: string }) => ({
  ...(since === undefined ? {} : { since: utcOf('since', since) }),
  ...(until === undefined ? {} : { until: utcOf('until', until) }),
})
