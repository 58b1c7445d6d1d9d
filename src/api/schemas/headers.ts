import type { JsonSchema } from './json-schema.ts'

const etag: JsonSchema = { type: 'string', description: 'The revision of the resource.', examples: ['"3"'] }
const projectionLag: JsonSchema = {
  type: 'string',
  description: 'The name of a read model, sent only when the change is stored but that read model does not show it yet.',
  examples: ['webhooks'],
}
const location: JsonSchema = {
  type: 'string',
  description: 'The path of the new resource.',
  examples: ['/v1/webhooks/01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
}
const stateHeaders = { ETag: etag }
/** The header of a past state of one resource. */
export const asOfIndexHeader = {
  'As-Of-Index': {
    type: 'string',
    description: 'The index of the last event in the past state. Sent with a past state; `as_of_index` with this number returns the same.',
    examples: ['41'],
  } as JsonSchema,
}
export const momentHeaders = { ...stateHeaders, ...asOfIndexHeader }
export const changeHeaders = { ETag: etag, 'Projection-Lag': projectionLag }
export const creationHeaders = { ...changeHeaders, Location: location }
/** The headers of responses with a past state, which should include all events that were stored before the request. */
export const pastReadHeaders = {
  'Projection-Lag': {
    type: 'string',
    description: 'The name of a read model, sent only when it is behind: the latest changes may be missing.',
    examples: ['webhooks'],
  },
}
/** The headers of a list at a past time. */
export const pastListHeaders = {
  ...pastReadHeaders,
  'As-Of-Index': {
    type: 'string',
    description:
      'The index of the last event of the audit log up to that time. With `as_of_index`, each resource of the list can be read as it was after that event.',
    examples: ['41'],
  } as JsonSchema,
}
export const jobHeaders = { Location: location }
export const lagHeaders = { 'Projection-Lag': projectionLag }
export const ifMatch = {
  'If-Match': {
    type: 'string',
    description: 'A list of ETags, or *. The change is refused with 412 unless the resource has one of these revisions.',
    examples: ['"3"'],
  },
}
/** The header that every guarded route accepts, except those that only read. */
export const reason = {
  'Kolbak-Reason': {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^[ -~]+$',
    description:
      'Why the caller makes the change. The audit log shows these words readable for ever, so they must not contain personal data.',
    examples: ['Ticket 4711: the receiver moved'],
  },
}
export const idempotencyKey = {
  'Idempotency-Key': {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^[!-~]+$',
    description: 'For a day, the same request with the same key is carried out only once, and every repetition gets the same response.',
    examples: ['7d0f6c1e-8a55-4a35-9f3e-0d9c1a3b5e77'],
  },
}
