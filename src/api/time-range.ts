import { invalid } from './errors.ts'
import { toUtc } from './rfc3339.ts'

/** A time of a request as Kolbak writes times; throws validation_failed, which names it. */
export function utc(path: string, text: string): string {
  const time = toUtc(text)
  if (time === null) throw invalid([{ path, message: 'must be an RFC 3339 time' }])
  return time
}
/** `since` and `until` of a query, as Kolbak writes times. */
export const range = ({ since, until }: { since?: string; until?: string }) => ({
  ...(since === undefined ? {} : { since: utc('since', since) }),
  ...(until === undefined ? {} : { until: utc('until', until) }),
})
