const grammar = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/
const daysIn = (year: number, month: number) => new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()

/** Milliseconds of an RFC 3339 time (5.6; a leap second counts as the next one's beginning), or null when it is none. */
export function parseTime(text: string): number | null {
  const found = grammar.exec(text)
  if (found === null) return null
  const [, year, month, day, hour, minute, second] = found.map(Number)
  const [, , , , , , , fraction = '', sign, offsetHour = '0', offsetMinute = '0'] = found
  if (month! < 1 || month! > 12 || day! < 1 || day! > daysIn(year!, month!)) return null
  if (hour! > 23 || minute! > 59 || second! > 60 || Number(offsetHour) > 23 || Number(offsetMinute) > 59) return null
  const whole = new Date(0)
  whole.setUTCFullYear(year!, month! - 1, day!)
  whole.setUTCHours(hour!, minute!, second!, Math.trunc(Number(`0${fraction}`) * 1_000))
  const offset = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000
  return whole.getTime() - (sign === '-' ? -offset : offset)
}

/** The same time as Kolbak writes times: UTC, milliseconds; null when the text is none, or its year there is not 1 to 9999 (Postgres knows no year 0). */
export function toUtc(text: string): string | null {
  const time = parseTime(text)
  if (time === null) return null
  const written = new Date(time).toISOString()
  return written.length === 24 && written >= '0001' ? written : null
}
