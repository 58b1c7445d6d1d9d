import { bearerScopes } from '../events/tenant.ts'
import { isObject } from '../lib/is-object.ts'
import { type ErrorCode, statuses } from './errors.ts'
import type { Route } from './route.ts'
import { errorBody } from './schemas/common.ts'
import { idempotencyKey } from './schemas/headers.ts'
import { isNamed, type JsonSchema, schemaName } from './schemas/json-schema.ts'

const isGuarded = ({ credentials }: Route): boolean => credentials === 'bearer' || credentials === 'bearer-or-key'

/** Returns the errors that follow from the definition of a route, and those that it names itself. */
function errorCodes(route: Route): ErrorCode[] {
  const codes = new Set<ErrorCode>(['internal_error'])
  const add = (...more: ErrorCode[]) => {
    for (const code of more) codes.add(code)
  }
  if (isGuarded(route)) add('ambiguous_credentials', 'rate_limited', 'database_unavailable')
  if (route.credentials !== 'none' && route.credentials !== 'client')
    add('unauthorized', 'insufficient_scope', 'tenant_suspended', 'too_many_failed_credentials', 'database_unavailable')
  if (route.credentials === 'client') add('database_unavailable')
  if (route.path.includes(':')) add('invalid_request', 'not_found')
  if (route.requestHeaders !== undefined) add('invalid_request')
  if (route.idempotent) add('invalid_request', 'idempotency_key_in_use', 'idempotency_key_reused')
  if (route.query !== undefined) add('validation_failed')
  if (route.body !== undefined) add('invalid_json', 'request_timeout', 'body_too_large', 'unsupported_media_type')
  if (route.body !== undefined && route.credentials !== 'client') add('validation_failed')
  if (route.method !== 'GET' && route.credentials !== 'client') add('store_unavailable', 'event_not_readable')
  add(...(route.errors ?? []))
  return [...codes]
}

const requestIdHeader = {
  'X-Request-Id': { schema: { type: 'string' }, description: 'The id that was sent, or a new one. The logs contain it too.' },
}
const rateLimitHeaders = {
  'RateLimit-Policy': { schema: { type: 'string', examples: ['"requests";q=50;w=1'] }, description: 'The limit (q) per second.' },
  RateLimit: {
    schema: { type: 'string', examples: ['"requests";r=49;t=1'] },
    description: 'The remainder of the limit in this process (r), and the seconds until it is whole again (t).',
  },
}
const headersOf: Readonly<Record<number, Readonly<Record<string, { schema: JsonSchema; description?: string }>>>> = {
  401: { 'WWW-Authenticate': { schema: { type: 'string' } } },
  429: { 'Retry-After': { schema: { type: 'integer' }, description: 'Seconds.' } },
  503: { 'Retry-After': { schema: { type: 'integer' }, description: 'Seconds.' } },
}

function responses(route: Route): Record<string, unknown> {
  const responsesByStatus: Record<string, unknown> = {}
  const codesByStatus = new Map<number, ErrorCode[]>()
  const commonHeaders = { ...requestIdHeader, ...(isGuarded(route) ? rateLimitHeaders : {}) }
  for (const code of errorCodes(route)) codesByStatus.set(statuses[code], [...(codesByStatus.get(statuses[code]) ?? []), code])
  for (const [status, codes] of codesByStatus)
    responsesByStatus[status] = {
      description: `Refused: ${codes.map((code) => `\`${code}\``).join(', ')}.`,
      headers: { ...commonHeaders, ...headersOf[status] },
      content: { 'application/json': { schema: route.errorSchema ?? errorBody } },
    }
  for (const [status, { description, schema, headers = {}, type = 'application/json' }] of Object.entries(route.responses))
    responsesByStatus[status] = {
      description,
      headers: { ...commonHeaders, ...Object.fromEntries(Object.entries(headers).map(([name, header]) => [name, { schema: header }])) },
      ...(schema === undefined ? {} : { content: { [type]: { schema } } }),
    }
  return responsesByStatus
}

function parameters(route: Route): unknown[] {
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }))
  const properties = isObject(route.query?.properties) ? route.query.properties : {}
  const inQuery = Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: false, schema }))
  const inHeaders = Object.entries({ ...route.requestHeaders, ...(route.idempotent ? idempotencyKey : {}) }).map(([name, schema]) => ({
    name,
    in: 'header',
    required: false,
    schema,
  }))
  return [...inPath, ...inQuery, ...inHeaders]
}

function security({ credentials, scope }: Route): unknown[] {
  switch (credentials) {
    case 'bearer':
      return [{ oauth2: [scope] }]
    case 'bearer-or-key':
      return [{ oauth2: [scope] }, { apiKey: [] }]
    case 'operator':
      return [{ oauth2: ['admin'] }, { metricsToken: [] }]
    case 'client':
      return [{ clientBasic: [] }, {}]
    case 'none':
      return []
  }
}

function operation(route: Route): Record<string, unknown> {
  const content = Object.fromEntries((route.bodyTypes ?? ['application/json']).map((type) => [type, { schema: route.body }]))
  return {
    operationId: route.operationId,
    summary: route.summary,
    tags: [route.tag],
    security: security(route),
    parameters: parameters(route),
    ...(route.body === undefined ? {} : { requestBody: { required: route.bodyOptional !== true, content } }),
    responses: responses(route),
  }
}

/** Moves named schemas to `components`, and puts references in their place. */
function extractSchemas(value: unknown, components: Map<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item) => extractSchemas(item, components))
  if (!isObject(value)) return value
  const copy = () => Object.fromEntries(Object.entries(value).map(([key, member]) => [key, extractSchemas(member, components)]))
  if (!isNamed(value)) return copy()
  const name = value[schemaName]
  if (!components.has(name)) components.set(name, copy())
  return { $ref: `#/components/schemas/${name}` }
}

/** Returns `/openapi.json` (OpenAPI 3.1), made from the route table and the schemas that validate requests. */
export function createOpenApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) }
  }
  const components = new Map<string, unknown>()
  const extracted = extractSchemas(paths, components)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Kolbak',
      version,
      description:
        'A webhook service: producers post events, and Kolbak delivers each event, signed, to every webhook that subscribed to it.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths: extracted,
    components: {
      schemas: Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        oauth2: {
          type: 'oauth2',
          flows: { clientCredentials: { tokenUrl: '/v1/auth', scopes: Object.fromEntries(bearerScopes.map((scope) => [scope, scope])) } },
        },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
        metricsToken: { type: 'http', scheme: 'bearer', description: 'KOLBAK_METRICS_TOKEN.' },
        clientBasic: { type: 'http', scheme: 'basic', description: 'client_id and client_secret.' },
      },
    },
  }
}
