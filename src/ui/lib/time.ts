import { signal } from '@preact/signals'
import { preferences } from './preferences.ts'

/** The present time, which moves on every second, so that relative times stay right. */
export const now = signal(Date.now())
setInterval(() => {
  if (!document.hidden) now.value = Date.now()
}, 1_000)

const pad = (value: number, digits = 2) => String(value).padStart(digits, '0')
/** Returns a time to the second in the chosen time zone: `30 Nov 14:05:09`. The year is shown if it is another year. */
export function timeText(time: string, { withMs = false } = {}): string {
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) return time
  const isUtc = preferences.value.zone === 'utc'
  const part = (utc: number, local: number) => (isUtc ? utc : local)
  const month = date.toLocaleString('en', { month: 'short', ...(isUtc ? { timeZone: 'UTC' } : {}) })
  const year = part(date.getUTCFullYear(), date.getFullYear())
  const isOtherYear = year !== (isUtc ? new Date(now.value).getUTCFullYear() : new Date(now.value).getFullYear())
  const clock = [
    part(date.getUTCHours(), date.getHours()),
    part(date.getUTCMinutes(), date.getMinutes()),
    part(date.getUTCSeconds(), date.getSeconds()),
  ].map((value) => pad(value))
  const ms = withMs ? `.${pad(date.getUTCMilliseconds(), 3)}` : ''
  return `${part(date.getUTCDate(), date.getDate())} ${month}${isOtherYear ? ` ${year}` : ''} ${clock.join(':')}${ms}`
}

const zoneFormat = new Intl.DateTimeFormat('en', { timeZoneName: 'short' })
/** Returns the time zone of a time: `UTC`, `GMT+2`. */
export function zoneText(time: string): string {
  const date = new Date(time)
  if (preferences.value.zone === 'utc' || Number.isNaN(date.getTime())) return 'UTC'
  return zoneFormat.formatToParts(date).find(({ type }) => type === 'timeZoneName')?.value ?? ''
}

/** Returns a duration in its two largest units: `3 min 12 s`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  const units = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const
  const first = units.findIndex(([size]) => seconds >= size)
  const [size, name] = units[first] ?? [1, 's']
  const next = units[first + 1]
  const remainder = next === undefined ? 0 : Math.floor((seconds % size) / next[0])
  return `${Math.floor(seconds / size)} ${name}${next === undefined || remainder === 0 ? '' : ` ${remainder} ${next[1]}`}`
}
/** Returns how long ago a time was, or in how long it will be: `3 min ago`, `in 12 s`. */
export function relativeText(time: string): string {
  const ms = Date.parse(time) - now.value
  if (Math.abs(ms) < 1_000) return 'now'
  const text = durationText(Math.max(1_000, Math.floor(Math.abs(ms) / 1_000) * 1_000)).replace('.0 s', ' s')
  const [value, unit] = text.split(' ')
  const short = Math.abs(ms) < 60_000 ? text : `${value} ${unit}`
  return ms > 0 ? `in ${text}` : `${short} ago`
}

/** The time ranges that a person can choose, with their lengths in hours. */
export const ranges = { '1h': 1, '24h': 24, '7d': 168, '30d': 720 } as const
export type Range = keyof typeof ranges
export const isRange = (text: string | null): text is Range => text !== null && text in ranges
/** Returns the beginning of a range that ends now, to the minute, so that the same read is not repeated each second. */
export const sinceOf = (range: Range): string =>
  new Date(Math.floor(Date.now() / 60_000) * 60_000 - ranges[range] * 3_600_000).toISOString()
