import { secondsPerDay } from '../../lib/days.ts'
import { type JsonSchema, named, object } from './json-schema.ts'

/** The time for which a rotated secret or key still works together with its successor. */
export interface Rotation {
  readonly overlap_seconds?: number
}
export const overlap: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: 604_800,
  description: `The seconds for which the former secret or key still works. Default: ${secondsPerDay}. With 0 it ends at once.`,
  examples: [secondsPerDay],
}
export const rotation = named<Rotation>('Rotation', object({ overlap_seconds: overlap }, ['overlap_seconds']))

/** Returns the RFC 3339 time until which the former secret or key works, or null when it ends at once. @param now milliseconds */
export const overlapEnd = ({ overlap_seconds: seconds = secondsPerDay }: Rotation, now: number): string | null =>
  seconds === 0 ? null : new Date(now + seconds * 1_000).toISOString()
