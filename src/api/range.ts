import { invalid } from './errors.ts'
import { toUtc } from './rfc3339.ts'

function utc(path: string, text: string): string {
  const time = toUtc(text)
  if (time === null) throw invalid([{ path, message: 'must be an RFC 3339 time' }])
  return time
}
/** `since` and `until` of a query, as Kolbak writes times. */
export const range = ({ since, until }: { since?: string; until?: string }) => ({
  ...(since === undefined ? {} : { since: utc('since', since) }),
  ...(until === undefined ? {} : { until: utc('until', until) }),
})
