const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const clock = String.raw`(?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)`
/** The three forms of a date (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`. */
const dateForms = [
  new RegExp(String.raw`^[a-z]{3,9}, (?<day>\d\d?)[ -](?<month>[a-z]{3})[ -](?<year>\d{4}|\d\d) ${clock} (?:GMT|UTC)$`, 'i'),
  new RegExp(String.raw`^[a-z]{3} (?<month>[a-z]{3}) {1,2}(?<day>\d\d?) ${clock} (?<year>\d{4})$`, 'i'),
]
/** A number in this range is a Unix time between the years 2001 and 2100. As a delay in seconds, it would be 31 years or more. */
const unixTimes = { first: 1e9, end: 4.1e9 }

/**
 * Returns the seconds that a Retry-After header asks to wait (RFC 9110, 10.2.3), or null if it names no time. A number that is too large for a delay
 * is read as a Unix time in seconds or milliseconds. Parts of a second are rounded up. `nextDelay` limits the result.
 * @param now milliseconds since 1970
 */
export function parseRetryAfter(value: string | undefined, now: number): number | null {
  const text = value?.trim() ?? ''
  if (/^\d+(?:\.\d+)?$/.test(text)) {
    const number = Number(text)
    const time = [number * 1_000, number].find((ms) => ms >= unixTimes.first * 1_000 && ms < unixTimes.end * 1_000)
    return time === undefined ? Math.ceil(number) : secondsUntil(time, now)
  }
  const time = dateOf(text, now)
  return time === null ? null : secondsUntil(time, now)
}

const secondsUntil = (time: number, now: number): number => Math.max(0, Math.ceil((time - now) / 1_000))

/** Returns milliseconds since 1970, or null for a text that is not a date. */
function dateOf(text: string, now: number): number | null {
  const parts = dateForms.map((form) => form.exec(text)?.groups).find((groups) => groups !== undefined)
  if (parts === undefined) return null
  const month = months.indexOf(parts.month!.toLowerCase())
  const [day, hour, minute, second] = [parts.day, parts.hour, parts.minute, parts.second].map(Number) as [number, number, number, number]
  if (month === -1 || hour > 23 || minute > 59 || second > 60) return null
  const time = Date.UTC(fullYear(parts.year!, now), month, day, hour, minute, second)
  return new Date(Date.UTC(2000, month, day)).getUTCDate() === day ? time : null
}

/** A year of two digits that would be more than 50 years away is in the past (RFC 9110, 5.6.7). */
function fullYear(year: string, now: number): number {
  if (year.length === 4) return Number(year)
  const thisYear = new Date(now).getUTCFullYear()
  const sameCentury = thisYear - (thisYear % 100) + Number(year)
  return sameCentury > thisYear + 50 ? sameCentury - 100 : sameCentury
}
