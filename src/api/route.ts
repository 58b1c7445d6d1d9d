import type { IncomingHttpHeaders } from 'node:http'
import type { RequestFacts } from '../events/envelope.ts'
import type { Scope } from '../events/tenant.ts'
import { isObject } from '../lib/is-object.ts'
import { ApiError, type Detail, type ErrorCode, invalid, type Problem } from './errors.ts'
import type { Identity } from './identity.ts'
import { createQueryReader } from './query-string.ts'
import type { Quota } from './rate-limits.ts'
import { parseJson } from './request-body.ts'
import { type JsonSchema, object } from './schemas/json-schema.ts'
import { createValidator } from './validation.ts'

/** A request as a route gets it from the pipeline: the caller is known, and the body is read but not yet parsed. */
export interface RawRequest {
  readonly params: Readonly<Record<string, string | undefined>>
  readonly search: URLSearchParams
  readonly rawBody: Buffer
  readonly contentType: string
  /** The caller, or null on routes that need no credential. */
  readonly identity: Identity | null
  /** Returns the caller's address, as the trusted proxies report it. */
  address(): string
  /** The id that connects the request with other requests of the caller (`x-request-id`). It becomes the correlation id of events. */
  readonly requestId: string
  /** Kolbak's own id of the request (`kolbak-request-id`). */
  readonly kolbakRequestId: string
  readonly headers: IncomingHttpHeaders
  /** Returns the facts about the request that its events keep. */
  facts(): RequestFacts
  /**
   * Chooses the ids and secrets that a change needs, before the change is stored. A request that is repeated under its `Idempotency-Key` gets the
   * values of the first request. They must be plain JSON. A request may call this function only once.
   */
  plan<T>(choose: () => T): Promise<T>
  /** Counts `count` further events against the caller's limit. One event was counted when the request was accepted. */
  countMore(count: number): Promise<void>
  /** Returns a signal that aborts when the caller hangs up. */
  gone(): AbortSignal
  /** Checks the credential and the scope again, for a response that takes long. Throws like the first check. */
  stillAllowed(): Promise<void>
}
/** The result of a handler: the response in one of three forms. */
export interface RouteResult {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** A value to serialize as JSON. */
  readonly body?: unknown
  /** A body that is text already. */
  readonly text?: { readonly type: string; readonly content: string }
  /** A body that is sent chunk by chunk, no faster than the caller reads. */
  readonly stream?: {
    readonly type: string
    readonly chunks: AsyncIterable<string>
    /** Returns the number of events that were sent until now. */
    readonly lines?: () => number
    /** Whether the stream has no end of its own. Its duration then says nothing about the service, and is not measured. */
    readonly isLive?: boolean
  }
}

type ParamNames<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | ParamNames<Rest>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never
/** A request as a handler gets it: query and body are parsed and valid. */
interface ValidRequest<Path extends string, Query, Body> extends Omit<RawRequest, 'params' | 'identity' | 'search'> {
  readonly params: Readonly<Record<ParamNames<Path>, string>>
  readonly query: Query
  readonly body: Body
}

interface ResponseSpec {
  readonly description: string
  readonly schema?: JsonSchema
  /** The example of the body in `/openapi.json`. By default it is made of the examples of the schema. */
  readonly example?: unknown
  /** The examples of the errors that only this route has, by their codes. */
  readonly errorExamples?: Readonly<Record<string, unknown>>
  /** The media type. Default JSON. */
  readonly type?: string
  readonly headers?: Readonly<Record<string, JsonSchema>>
}
interface RouteSpec<Path extends string, Query, Body> {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: Path
  readonly operationId: string
  readonly summary: string
  /** Sentences that say what a caller must know: when to use the operation, what it changes, and what it does not do. */
  readonly description: string
  readonly tag: string
  /** The schemas of the parameters in the path, for `/openapi.json`. The handler itself refuses texts that cannot be ids. */
  readonly params?: Readonly<Record<ParamNames<Path>, JsonSchema>>
  readonly query?: JsonSchema<Query>
  readonly body?: JsonSchema<Body>
  /** The example of the body in `/openapi.json`. */
  readonly example?: unknown
  /**
   * The media types that the body may have. Default JSON. Only the first type is in `/openapi.json`, because many generators of clients fail if there
   * are two.
   */
  readonly bodyTypes?: readonly string[]
  /** Whether a request without a body counts as a request with the body `{}`. */
  readonly bodyOptional?: boolean
  /** The largest body in bytes. Default 64 KiB. */
  readonly bodyLimit?: number
  /** Whether the route accepts `Idempotency-Key`. Its handler must choose ids and secrets with `plan`. */
  readonly idempotent?: boolean
  /** The limit against which a request counts. Default `requests`. */
  readonly quota?: Quota
  /** Whether successful requests are logged at level debug, because there are many of them. */
  readonly quiet?: boolean
  /** The request headers that the handler reads, for `/openapi.json`. */
  readonly requestHeaders?: Readonly<Record<string, JsonSchema>>
  readonly responses: Readonly<Record<number, ResponseSpec>>
  /** Error codes beyond those that follow from the credentials, the body and the query. */
  readonly errors?: readonly ErrorCode[]
}
interface GuardedRouteSpec<Path extends string, Query, Body> extends RouteSpec<Path, Query, Body> {
  readonly credentials: 'bearer' | 'bearer-or-key'
  /** The scope that the credential must have, or null if every valid credential suffices. */
  readonly scope: Scope | null
  /**
   * Returns the faults of a body that no schema can express, such as a URL that may not be called.
   * @param faultyPaths the paths of the faults that the schemas have found; all faults are reported together
   */
  readonly check?: (body: Readonly<Record<string, unknown>>, faultyPaths: ReadonlySet<string>) => Promise<readonly Detail[]>
  readonly handler: (request: ValidRequest<Path, Query, Body> & Identity) => Promise<RouteResult>
}
interface OpenRouteSpec<Path extends string, Query, Body> extends RouteSpec<Path, Query, Body> {
  /**
   * The credentials that the route needs. `operator`: a token with scope `admin`, or the metrics token. `client`: client credentials, which the
   * handler itself checks.
   */
  readonly credentials: 'none' | 'operator' | 'client'
  /** Parses the body. By default as JSON. */
  readonly parse?: (rawBody: Buffer, contentType: string) => unknown
  /** Returns the body of an error response, for a route whose errors do not have the envelope. */
  readonly errorBody?: (problem: Problem) => unknown
  readonly errorSchema?: JsonSchema
  readonly handler: (request: ValidRequest<Path, Query, Body>) => Promise<RouteResult>
}

/** An entry of the route table. Mounting, scope checks, `/openapi.json` and the tests of tenant isolation are made from it. */
export interface Route extends RouteSpec<string, unknown, unknown> {
  readonly credentials: 'bearer' | 'bearer-or-key' | 'none' | 'operator' | 'client'
  readonly scope: Scope | null
  /** Whether the route can read a past state. Such a read needs only `read:audit`. */
  readonly hasPast?: boolean
  readonly errorBody?: (problem: Problem) => unknown
  readonly errorSchema?: JsonSchema
  run(request: RawRequest): Promise<RouteResult>
}

const emptyQuery = { values: {}, details: [] }
const noParameters: JsonSchema = object({})

/**
 * Returns a function that parses and validates query and body. It throws one error with all faults of both.
 * @param schemaOfQuery undefined for a route that ignores its query
 */
function createRequestReader<Path extends string, Query, Body>(
  spec: RouteSpec<Path, Query, Body> & Pick<GuardedRouteSpec<Path, Query, Body>, 'check'> & Pick<OpenRouteSpec<Path, Query, Body>, 'parse'>,
  schemaOfQuery: JsonSchema | undefined = spec.query,
) {
  const paramNames = [...spec.path.matchAll(/:(\w+)/g)].map(([, name]) => name!)
  const readQuery = schemaOfQuery === undefined ? () => emptyQuery : createQueryReader(schemaOfQuery)
  const validateQuery = createValidator<Query>((schemaOfQuery ?? {}) as JsonSchema<Query>)
  const validateBody = createValidator<Body>(spec.body ?? {})
  const { check, parse = parseJson } = spec
  return async (request: RawRequest): Promise<ValidRequest<Path, Query, Body>> => {
    const rawQuery = readQuery(request.search)
    const query = validateQuery(rawQuery.values)
    const rawBody = spec.body === undefined ? undefined : parse(request.rawBody, request.contentType)
    const body = validateBody(rawBody)
    const details: Detail[] = [...rawQuery.details, ...(query.details ?? []), ...(body.details ?? [])]
    if (check !== undefined && isObject(rawBody)) details.push(...(await check(rawBody, new Set(details.map(({ path }) => path)))))
    if (query.details !== undefined || body.details !== undefined || details.length > 0) throw invalid(details)
    const params = Object.fromEntries(paramNames.map((name) => [name, request.params[name] ?? ''])) as Record<ParamNames<Path>, string>
    return { ...request, params, query: query.value, body: body.value }
  }
}

/** Defines a route that needs a credential of a client or a key. */
export function guardedRoute<const Path extends string, Query = unknown, Body = unknown>(spec: GuardedRouteSpec<Path, Query, Body>): Route {
  const { handler, check, ...description } = spec
  // A reader that ignored `as_of` would return the present as if it were the past, so it refuses every parameter that it does not have.
  const readRequest = createRequestReader(spec, spec.method === 'GET' ? (spec.query ?? noParameters) : spec.query)
  return {
    ...description,
    hasPast: Object.hasOwn(spec.query?.properties ?? {}, 'as_of'),
    async run(request) {
      if (request.identity === null) throw new ApiError('unauthorized', 'This needs a credential.')
      return handler({ ...(await readRequest(request)), ...request.identity })
    },
  }
}
/** Defines a route without a caller. */
export function openRoute<const Path extends string, Query = unknown, Body = unknown>(spec: OpenRouteSpec<Path, Query, Body>): Route {
  const { handler, parse, ...description } = spec
  const readRequest = createRequestReader(spec)
  return { ...description, scope: null, run: async (request) => handler(await readRequest(request)) }
}
