import { isObject } from '../lib/is-object.ts'
import { isGuarded, responsesOf, sharedErrorExamples, sharedHeaders } from './openapi-responses.ts'
import { webhookRequests } from './openapi-webhooks.ts'
import type { Route } from './route.ts'
import { scopeDescriptions } from './schemas/auth.ts'
import { idempotencyKey, reason } from './schemas/headers.ts'
import { exampleOf, isNamed, type JsonSchema, schemaName } from './schemas/json-schema.ts'

/** Returns whether a route stores events on behalf of its caller. */
const acceptsReason = (route: Route): boolean => isGuarded(route) && route.method !== 'GET'

function parameters(route: Route): unknown[] {
  const schemas: Readonly<Record<string, JsonSchema>> = route.params ?? {}
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name = '']) => {
    const schema = schemas[name]
    const parameter = { name, in: 'path', required: true, schema: schema ?? { type: 'string' } }
    return schema === undefined ? parameter : { ...parameter, description: schema.description, example: exampleOf(schema) }
  })
  const properties = isObject(route.query?.properties) ? route.query.properties : {}
  const required: unknown[] = Array.isArray(route.query?.required) ? route.query.required : []
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(isObject(schema) ? { description: schema.description } : {}),
    schema,
  }))
  const inHeaders = Object.entries({
    ...route.requestHeaders,
    ...(route.idempotent ? idempotencyKey : {}),
    ...(acceptsReason(route) ? reason : {}),
  }).map(([name, schema]) => ({
    name,
    in: 'header',
    required: false,
    description: schema.description,
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

/** Returns what a caller needs, as a sentence. */
function needs({ credentials, scope }: Route): string {
  switch (credentials) {
    case 'bearer':
      return `It needs a bearer token with the scope \`${scope}\`.`
    case 'bearer-or-key':
      return `It needs a bearer token or an API key with the scope \`${scope}\`.`
    case 'operator':
      return 'It needs a bearer token with the scope `admin`, or `KOLBAK_METRICS_TOKEN` as the token.'
    case 'client':
      return 'It needs the credentials of a client.'
    case 'none':
      return 'It needs no credential.'
  }
}

function operation(route: Route): Record<string, unknown> {
  const [type = 'application/json'] = route.bodyTypes ?? []
  const content = { [type]: { schema: route.body, example: route.example } }
  return {
    operationId: route.operationId,
    summary: route.summary,
    description: `${route.description} ${needs(route)}`,
    tags: [route.tag],
    security: security(route),
    parameters: parameters(route),
    ...(route.body === undefined ? {} : { requestBody: { required: route.bodyOptional !== true, content } }),
    responses: responsesOf(route),
  }
}

/** Says what each group of operations is about, in the order of `/docs`. */
const tags: Readonly<Record<string, string>> = {
  Auth: 'A client exchanges its credentials for a bearer token.',
  Events: 'Producers post events, and read what became of them.',
  Webhooks: 'A webhook subscribes a URL to events.',
  Deliveries: 'A delivery is one event that is owed to one webhook, with the history of its attempts.',
  Jobs: 'A job does work that takes longer than a request.',
  Keys: 'An API key lets a consumer manage its own webhooks.',
  Audit: 'Every change has an author and stays readable.',
  Tenants: 'A tenant is an account that other accounts cannot see into. A client gets tokens for its tenant.',
  Operation: 'Operators and their tools watch the service.',
}

const tagOrder = Object.keys(tags)
const methodOrder = ['POST', 'GET', 'PATCH', 'DELETE']
const depthOf = ({ path }: Route): number => path.split('/').length
/** Compares routes for `/docs`: first by tag. Within a tag, a collection comes before its members, and a member before what belongs to it. */
const byPlaceInDocs = (a: Route, b: Route): number =>
  tagOrder.indexOf(a.tag) - tagOrder.indexOf(b.tag) ||
  depthOf(a) - depthOf(b) ||
  methodOrder.indexOf(a.method) - methodOrder.indexOf(b.method)

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
  for (const route of routes.toSorted(byPlaceInDocs)) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) }
  }
  const components = new Map<string, unknown>()
  const extracted = extractSchemas(paths, components)
  const pathItems = extractSchemas(webhookRequests, components)
  const webhooks = Object.fromEntries(Object.keys(webhookRequests).map((name) => [name, { $ref: `#/components/pathItems/${name}` }]))
  return {
    openapi: '3.1.0',
    info: {
      title: 'Kolbak',
      version,
      description:
        'A webhook service: producers post events, and Kolbak delivers each event, signed, to every webhook that subscribed to it. ' +
        'To try it, use Authorize: `oauth2` takes the id and secret of a client, such as those in `.kolbak/admin-client.json` after the first start.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'The service that this document comes from.' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths: extracted,
    webhooks,
    components: {
      pathItems,
      headers: sharedHeaders,
      examples: sharedErrorExamples(),
      schemas: Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1))),
      securitySchemes: {
        oauth2: {
          type: 'oauth2',
          description: 'A bearer token of `/v1/auth`, for an hour by default.',
          flows: { clientCredentials: { tokenUrl: '/v1/auth', scopes: scopeDescriptions } },
        },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'The value of an API key.' },
        metricsToken: { type: 'http', scheme: 'bearer', description: 'KOLBAK_METRICS_TOKEN.' },
        clientBasic: { type: 'http', scheme: 'basic', description: 'client_id and client_secret.' },
      },
    },
  }
}
