import { isObject } from '../../lib/is-object.ts'
import { isNamed, type JsonSchema, named, nullable, object, schemaName } from './json-schema.ts'

// `x-rule` completes the error message "must be ..." of a field whose pattern alone would tell a caller little.

export const ulid: JsonSchema = {
  type: 'string',
  pattern: '^[0-7][0-9A-HJKMNP-TV-Z]{25}$',
  'x-rule': 'a ULID',
  examples: ['01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
}
/** Returns the schema of the id of a resource in a path. */
export const idOf = (resource: string): JsonSchema => ({ ...ulid, description: `The id of the ${resource}.` })
export const uuid: JsonSchema = { type: 'string', format: 'uuid', examples: ['0195d3a1-7a4b-5c6d-8e9f-001122334455'] }
/** A time in a response: UTC, milliseconds. */
export const timestamp: JsonSchema = { type: 'string', format: 'date-time', examples: ['2026-03-31T00:45:00.000Z'] }
/** A time in a request: any offset. */
export const instant: JsonSchema = {
  type: 'string',
  format: 'date-time',
  maxLength: 64,
  'x-rule': 'an RFC 3339 time with an offset or Z',
  examples: ['2026-03-31T00:42:50Z'],
}
export const correlation_id: JsonSchema = {
  type: 'string',
  description:
    'The `x-request-id` of the request that caused the event. A process manager passes on the correlation id of the event that it reacts to.',
  examples: ['7d0f6c1e-8a55-4a35-9f3e-0d9c1a3b5e77'],
}
export const messageId: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  pattern: '^[A-Za-z0-9_:-]+$',
  'x-rule': '1-255 of A-Z a-z 0-9 _ : -',
  examples: ['evt_producer_unique_id_12345'],
}
export const eventName: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  pattern: '^(?!kolbak\\.)[A-Za-z0-9_.:/-]+$',
  'x-rule': '1-255 of A-Z a-z 0-9 _ . : / -, not beginning with kolbak. (which is reserved)',
  examples: ['order.created'],
}
/** A name. `x-well-formed` refuses lone surrogates. */
export const name: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  'x-well-formed': true,
  description: 'A name for people.',
  examples: ['Billing'],
}
export const description: JsonSchema = {
  type: ['string', 'null'],
  maxLength: 2000,
  'x-well-formed': true,
  description: 'A note for people.',
  examples: ['Sends invoices to the bookkeeping.'],
}

export interface Offset {
  readonly limit?: number
  readonly offset?: number
}
export const defaultLimit = 20
const shownLimit: JsonSchema = {
  type: 'integer',
  minimum: 1,
  maximum: 100,
  description: 'The most items on a page.',
  examples: [defaultLimit],
}
const shownOffset: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: 2_147_483_647,
  description: 'The number of items to skip.',
  examples: [0],
}
export const limit: JsonSchema = { ...shownLimit, default: defaultLimit }
export const offset: JsonSchema = { ...shownOffset, default: 0 }
export const cursor: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 500,
  description: 'The `next_cursor` of the page before. Without it, the list begins at its first page.',
}

/**
 * A member that is always null. It is declared as an object or null, because many generators of clients cannot read the type `null`
 * alone.
 */
const nothing = (what: string): JsonSchema => ({
  type: ['object', 'null'],
  description: `Always null${what}.`,
  maxProperties: 0,
  examples: [null],
})
export const offsetPagination = named(
  'OffsetPagination',
  object({
    limit: shownLimit,
    offset: shownOffset,
    total: { type: 'integer', minimum: 0, description: 'The number of items on all pages.', examples: [1] },
  }),
)
export const cursorPagination = named(
  'CursorPagination',
  object({
    limit: shownLimit,
    next_cursor: nullable({ type: 'string', description: 'The `cursor` of the next page. Null on the last page.', examples: [null] }),
  }),
)

/** Returns the schema of a response in the envelope. Its name follows from the data, so that generators of clients need not make one up. */
export function envelope(data: JsonSchema, pagination?: JsonSchema): JsonSchema {
  const shown = pagination ?? nothing(' here, because the response is no list with pages')
  const schema = object({ data, error: nothing(' in a success'), pagination: shown })
  if (isNamed(data)) return named(`${data[schemaName]}Response`, schema)
  const items = isObject(data.items) && isNamed(data.items) ? data.items[schemaName] : undefined
  return items === undefined ? schema : named(`${items}${pagination === undefined ? 'List' : 'Page'}`, schema)
}
/** Returns the example of the last page of a list with a cursor. */
export const pageExample = (items: readonly unknown[]) => ({
  data: items,
  error: null,
  pagination: { limit: defaultLimit, next_cursor: null },
})
/** Returns the example of a response in the envelope. */
export const envelopeExample = (data: unknown) => ({ data, error: null, pagination: null })
export const listOf = (items: JsonSchema): JsonSchema => ({ type: 'array', items })

export const errorBody = named(
  'ErrorResponse',
  object({
    data: nothing(' in an error'),
    error: object(
      {
        code: { type: 'string', description: 'A stable word for programs to compare.', examples: ['not_found'] },
        message: {
          type: 'string',
          description: 'A sentence for people, which may change.',
          examples: ['There is no such resource, or it is not yours.'],
        },
        details: {
          type: 'array',
          description: 'The faults of all fields.',
          items: object({
            path: { type: 'string', description: 'Names joined by dots. Empty for the body as a whole.', examples: ['callback_url'] },
            message: { type: 'string', description: 'The rule that the value breaks.', examples: ['is required'] },
          }),
        },
        retained_since: {
          ...timestamp,
          description:
            'Only in `not_found` about an event, a delivery or an attempt: they are kept if they were accepted at this time or later, and earlier ones may have been removed by the retention. A later one never existed, or it belongs to somebody else.',
        },
      },
      ['details', 'retained_since'],
    ),
    pagination: nothing(' in an error'),
  }),
)
