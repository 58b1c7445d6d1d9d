const grammar = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/
/** The calendar repeats after 400 years. The year is taken from 2000 to 2399, because Date.UTC reads a year below 100 as one of the 20th century. */
const daysIn = (year: number, month: number) => new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()

/** Returns an RFC 3339 time (section 5.6) in milliseconds, or null when the text is not one. A leap second counts as the start of the next second. */
export function parseTime(text: string): number | null {
  const match = grammar.exec(text)
  if (match === null) return null
  const [, year, month, day, hour, minute, second] = match.map(Number)
  const [, , , , , , , fraction = '', sign, offsetHour = '0', offsetMinute = '0'] = match
  if (month! < 1 || month! > 12 || day! < 1 || day! > daysIn(year!, month!)) return null
  if (hour! > 23 || minute! > 59 || second! > 60 || Number(offsetHour) > 23 || Number(offsetMinute) > 59) return null
  const local = new Date(0)
  local.setUTCFullYear(year!, month! - 1, day!)
  local.setUTCHours(hour!, minute!, second!, Math.trunc(Number(`0${fraction}`) * 1_000))
  const offset = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000
  return local.getTime() - (sign === '-' ? -offset : offset)
}

/** Returns the time in Kolbak's form (UTC, milliseconds). Returns null when the text is not a time, or the year is not 1 to 9999 (Postgres has no year 0). */
export function toUtc(text: string): string | null {
  const time = parseTime(text)
  if (time === null) return null
  const utc = new Date(time).toISOString()
  return utc.length === 24 && utc >= '0001' ? utc : null
}
