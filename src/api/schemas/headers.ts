import type { JsonSchema } from './json-schema.ts'

const etag: JsonSchema = { type: 'string', description: "The resource's revision.", examples: ['"3"'] }
const projectionLag: JsonSchema = {
  type: 'string',
  description: 'Only when the change stands but this read model does not have it yet: reads may show the former state for a moment.',
}
const location: JsonSchema = { type: 'string' }
export const stateHeaders = { ETag: etag }
export const changeHeaders = { ETag: etag, 'Projection-Lag': projectionLag }
export const creationHeaders = { ...changeHeaders, Location: location }
/** Of reads that are to hold all that was stored before them. */
export const pastReadHeaders = {
  'Projection-Lag': { type: 'string', description: 'Only when this read model is behind: what was changed a moment ago may be missing.' },
}
export const jobHeaders = { Location: location }
export const lagHeaders = { 'Projection-Lag': projectionLag }
export const ifMatch = {
  'If-Match': {
    type: 'string',
    description: 'ETags, or *: the change is made only to one of these revisions (else 412).',
    examples: ['"3"'],
  },
}
export const idempotencyKey = {
  'Idempotency-Key': {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^[!-~]+$',
    description: 'For a day the same request under the same key is carried out once, and gets the very same answer.',
    examples: ['7d0f6c1e-8a55-4a35-9f3e-0d9c1a3b5e77'],
  },
}
