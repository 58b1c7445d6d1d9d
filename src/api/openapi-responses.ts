import { ApiError, type ErrorCode, errorCodes, errorEnvelope, errorSpec, lacksScope, type Problem, problemOf } from './errors.ts'
import { bodyTooLarge, defaultBodyLimit } from './request-body.ts'
import type { Route } from './route.ts'
import { errorBody } from './schemas/common.ts'
import { exampleOf, type JsonSchema } from './schemas/json-schema.ts'

export const isGuarded = ({ credentials }: Route): boolean => credentials === 'bearer' || credentials === 'bearer-or-key'

/** Returns the error codes that follow from the definition of a route, and those that the definition names. */
function errorCodesOf(route: Route): ErrorCode[] {
  const codes = new Set<ErrorCode>(['internal_error'])
  const add = (...more: ErrorCode[]) => {
    for (const code of more) codes.add(code)
  }
  if (isGuarded(route)) add('ambiguous_credentials', 'rate_limited', 'database_unavailable')
  if (route.credentials !== 'none' && route.credentials !== 'client')
    add('unauthorized', 'insufficient_scope', 'tenant_suspended', 'too_many_failed_credentials', 'database_unavailable')
  if (route.credentials === 'client') add('database_unavailable')
  if (isGuarded(route)) add('validation_failed')
  if (route.path.includes(':')) add('invalid_request', 'not_found')
  if (route.requestHeaders !== undefined) add('invalid_request')
  if (route.idempotent) add('invalid_request', 'idempotency_key_in_use', 'idempotency_key_reused')
  if (route.query !== undefined) add('validation_failed')
  if (route.body !== undefined) add('invalid_json', 'request_timeout', 'body_too_large', 'unsupported_media_type')
  if (route.body !== undefined && route.credentials !== 'client') add('validation_failed')
  if (route.method !== 'GET' && route.credentials !== 'client') add('store_unavailable', 'event_not_readable', 'stream_faulty')
  add(...(route.errors ?? []))
  if (codes.has('event_not_readable')) add('stream_faulty')
  if (codes.has('key_destroyed')) add('key_missing', 'erased_without_record')
  return [...codes]
}

/** Returns an error as this route could return it, or null if the error is the same on every route. */
function exampleProblem(route: Route, code: ErrorCode): Problem | null {
  switch (code) {
    case 'insufficient_scope':
      return problemOf(lacksScope(route.scope ?? 'admin'))
    case 'body_too_large':
      return problemOf(bodyTooLarge(route.bodyLimit ?? defaultBodyLimit))
    case 'validation_failed':
      return problemOf(new ApiError(code, errorSpec(code).message, { details: [exampleFault(route)] }))
    default:
      return null
  }
}
function exampleFault({ body }: Route) {
  const required: unknown = Array.isArray(body?.required) ? body.required[0] : undefined
  return typeof required === 'string' ? { path: required, message: 'is required' } : { path: 'colour', message: 'is not a known field' }
}

interface HeaderSpec {
  readonly schema: JsonSchema
  readonly description?: string
}
/** The headers of many responses. Responses refer to them, because repeating them would double the document. */
export const sharedHeaders: Readonly<Record<string, HeaderSpec>> = {
  'X-Request-Id': {
    schema: { type: 'string', examples: ['7d0f6c1e-8a55-4a35-9f3e-0d9c1a3b5e77'] },
    description: 'The id that was sent, or a new one. The logs contain it too.',
  },
  'Kolbak-Request-Id': {
    schema: { type: 'string', examples: ['01M8QZ3K5T7W9Y1B3D5F7H9J2M'] },
    description: "Kolbak's own id of the request, which no caller can choose. The audit log names it.",
  },
  'RateLimit-Policy': { schema: { type: 'string', examples: ['"requests";q=50;w=1'] }, description: 'The limit (q) per second.' },
  RateLimit: {
    schema: { type: 'string', examples: ['"requests";r=49;t=1'] },
    description: 'The remainder of the limit in this process (r), and the seconds until it is whole again (t).',
  },
  'WWW-Authenticate': {
    schema: { type: 'string', examples: ['Bearer realm="kolbak"'] },
    description: 'The kind of credential that is needed.',
  },
  'Retry-After': { schema: { type: 'integer', examples: [1] }, description: 'Seconds.' },
}
const headersOfStatus: Readonly<Record<number, readonly string[]>> = {
  401: ['WWW-Authenticate'],
  429: ['Retry-After'],
  503: ['Retry-After'],
}
const headerRefs = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))

const commonProblem = (code: ErrorCode): Problem => problemOf(new ApiError(code, errorSpec(code).message))
/** The examples of errors that are the same on every route. */
export const sharedErrorExamples = () =>
  Object.fromEntries(errorCodes.map((code) => [code, { summary: errorSpec(code).message, value: errorEnvelope(commonProblem(code)) }]))

/** Returns the responses of a route for `/openapi.json`: its successes, and each error with an example. */
export function responsesOf(route: Route): Record<string, unknown> {
  const responses: Record<string, unknown> = {}
  const commonHeaders = ['X-Request-Id', 'Kolbak-Request-Id', ...(isGuarded(route) ? ['RateLimit-Policy', 'RateLimit'] : [])]
  const { errorBody: bodyOf = errorEnvelope, errorSchema = errorBody } = route
  const errorExamples = new Map<number, Record<string, unknown>>()
  for (const code of errorCodesOf(route)) {
    const { status } = errorSpec(code)
    const routeProblem = exampleProblem(route, code)
    const isShared = routeProblem === null && route.errorBody === undefined
    const example = isShared ? { $ref: `#/components/examples/${code}` } : { value: bodyOf(routeProblem ?? commonProblem(code)) }
    errorExamples.set(status, { ...errorExamples.get(status), [code]: example })
  }
  for (const [status, spec] of Object.entries(route.responses))
    for (const [code, value] of Object.entries(spec.errorExamples ?? {}))
      errorExamples.set(Number(status), { ...errorExamples.get(Number(status)), [code]: { value } })
  for (const [status, examples] of errorExamples) {
    const codes = Object.keys(examples).map((code) => `\`${code}\``)
    responses[status] = {
      description: route.responses[status]?.description ?? `Refused: ${codes.join(', ')}.`,
      headers: headerRefs([...commonHeaders, ...(headersOfStatus[status] ?? [])]),
      content: {
        'application/json': {
          schema: errorSchema,
          examples,
        },
      },
    }
  }
  for (const [status, { description, schema, example, headers = {}, type = 'application/json' }] of Object.entries(route.responses)) {
    if (errorExamples.has(Number(status))) continue
    responses[status] = {
      description,
      headers: {
        ...headerRefs(commonHeaders),
        ...Object.fromEntries(Object.entries(headers).map(([name, header]) => [name, { schema: header }])),
      },
      ...(schema === undefined ? {} : { content: { [type]: { schema, example: example ?? exampleOf(schema) } } }),
    }
  }
  return responses
}
