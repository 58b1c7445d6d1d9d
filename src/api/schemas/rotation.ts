import { type JsonSchema, named, object } from './json-schema.ts'

/** How long what is rotated works beside its successor. */
export interface Rotation {
  readonly overlap_seconds?: number
}
export const overlap: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: 604_800,
  default: 86_400,
  description: 'How long the former one works too; 0 ends it at once.',
}
export const rotation = named<Rotation>('Rotation', object({ overlap_seconds: overlap }, ['overlap_seconds']))

/** RFC 3339, or null when the former one ends at once. @param now milliseconds */
export const overlapEnd = ({ overlap_seconds: seconds = 86_400 }: Rotation, now: number): string | null =>
  seconds === 0 ? null : new Date(now + seconds * 1_000).toISOString()
