import type { IncomingHttpHeaders } from 'node:http'
import type { Caller } from '../commands/caller.ts'
import type { Scope, TenantLimits } from '../events/tenant.ts'
import { ApiError, type Detail, type ErrorCode, invalid, type Problem } from './errors.ts'
import { createQueryReader } from './query-string.ts'
import type { Quota } from './rate-limits.ts'
import { parseJson } from './request-body.ts'
import type { JsonSchema } from './schemas/json-schema.ts'
import { checker } from './validation.ts'

/** For whom a request is carried out. */
export interface Identity {
  readonly caller: Caller
  /** Of its tenant. */
  readonly limits: TenantLimits
}
/** A request as the pipeline hands it over: who asks is known, its body read and not yet looked at. */
export interface RawRequest {
  readonly params: Readonly<Record<string, string | undefined>>
  readonly search: URLSearchParams
  readonly rawBody: Buffer
  readonly contentType: string
  /** Null on routes that ask for no credential. */
  readonly identity: Identity | null
  /** As the proxies that are trusted tell it. */
  address(): string
  readonly requestId: string
  readonly headers: IncomingHttpHeaders
  /**
   * What is chosen for a change before anything is stored: ids, secrets. A request that is repeated under its
   * `Idempotency-Key` gets what the first one chose. At most once a request; plain JSON.
   */
  plan<T>(make: () => T): Promise<T>
  /** Counts further events against the caller's limit, beyond the one that the request was let in for. */
  counts(more: number): Promise<void>
  /** Aborts when the caller is gone. */
  gone(): AbortSignal
}
export interface RouteResult {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Written as JSON. */
  readonly body?: unknown
  /** A body that is written already. */
  readonly text?: { readonly type: string; readonly content: string }
  /** Written as it comes, as fast as the caller reads. */
  readonly stream?: { readonly type: string; readonly chunks: AsyncIterable<string> }
}

type ParamNames<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | ParamNames<Rest>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never
interface Context<Path extends string, Query, Body> extends Omit<RawRequest, 'params' | 'identity' | 'search'> {
  readonly params: Readonly<Record<ParamNames<Path>, string>>
  readonly query: Query
  readonly body: Body
}

interface ResponseSpec {
  readonly description: string
  readonly schema?: JsonSchema
  readonly type?: string
  readonly headers?: Readonly<Record<string, JsonSchema>>
}
interface Described<Path extends string, Query, Body> {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: Path
  readonly operationId: string
  readonly summary: string
  readonly tag: string
  readonly query?: JsonSchema<Query>
  readonly body?: JsonSchema<Body>
  /** Media types of the body; default JSON alone. */
  readonly bodyTypes?: readonly string[]
  /** No body at all is taken as `{}`. */
  readonly bodyOptional?: boolean
  /** Bytes; default 64 KiB. */
  readonly bodyLimit?: number
  /** Takes `Idempotency-Key`: what its handler makes, it makes by `plan`. */
  readonly idempotent?: boolean
  /** What it is counted as against the caller's limit; default a request. */
  readonly quota?: Quota
  /** What goes well is logged only for debugging: there is too much of it. */
  readonly quiet?: boolean
  /** Request headers that it reads, for `/openapi.json`. */
  readonly requestHeaders?: Readonly<Record<string, JsonSchema>>
  readonly responses: Readonly<Record<number, ResponseSpec>>
  /** Codes of errors beyond those that follow from credentials, body and query. */
  readonly errors?: readonly ErrorCode[]
}
interface GuardedSpec<Path extends string, Query, Body> extends Described<Path, Query, Body> {
  readonly credentials: 'bearer' | 'bearer-or-key'
  readonly scope: Scope
  /** What no schema can say, such as whether a URL may be called; told together with what the schema found. */
  readonly check?: (body: Readonly<Record<string, unknown>>, faulty: ReadonlySet<string>) => Promise<readonly Detail[]>
  readonly handler: (context: Context<Path, Query, Body> & Identity) => Promise<RouteResult>
}
interface OpenSpec<Path extends string, Query, Body> extends Described<Path, Query, Body> {
  /** `operator`: a token with scope `admin`, or the metrics token. `client`: the body or Basic, which the handler looks at. */
  readonly credentials: 'none' | 'operator' | 'client'
  /** Reads the body; default JSON. */
  readonly parse?: (raw: Buffer, contentType: string) => unknown
  /** How this route words errors, where not by the envelope. */
  readonly errorBody?: (problem: Problem) => unknown
  readonly errorSchema?: JsonSchema
  readonly handler: (context: Context<Path, Query, Body>) => Promise<RouteResult>
}

/** A line of the route table: mounting, scope checks, `/openapi.json` and the tests of strangers are made from it. */
export interface Route extends Described<string, unknown, unknown> {
  readonly credentials: 'bearer' | 'bearer-or-key' | 'none' | 'operator' | 'client'
  readonly scope: Scope | null
  readonly errorBody?: (problem: Problem) => unknown
  readonly errorSchema?: JsonSchema
  run(request: RawRequest): Promise<RouteResult>
}

const noQuery = { values: {}, details: [] }
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Reads and checks params, query and body; every fault of all of them is told at once. */
function reader<Path extends string, Query, Body>(
  spec: Described<Path, Query, Body> & Pick<GuardedSpec<Path, Query, Body>, 'check'> & Pick<OpenSpec<Path, Query, Body>, 'parse'>,
) {
  const names = [...spec.path.matchAll(/:(\w+)/g)].map((found) => found[1]!)
  const readQuery = spec.query === undefined ? () => noQuery : createQueryReader(spec.query)
  const checkQuery = checker<Query>(spec.query ?? {})
  const checkBody = checker<Body>(spec.body ?? {})
  const { check, parse = parseJson } = spec
  return async (raw: RawRequest): Promise<Context<Path, Query, Body>> => {
    const details: Detail[] = []
    const read = readQuery(raw.search)
    const query = checkQuery(read.values)
    details.push(...read.details, ...(query.details ?? []))
    const parsed = spec.body === undefined ? undefined : parse(raw.rawBody, raw.contentType)
    const body = checkBody(parsed)
    details.push(...(body.details ?? []))
    if (check !== undefined && isObject(parsed)) details.push(...(await check(parsed, new Set(details.map(({ path }) => path)))))
    if (query.details !== undefined || body.details !== undefined || details.length > 0) throw invalid(details)
    const params = Object.fromEntries(names.map((name) => [name, raw.params[name] ?? ''])) as Record<ParamNames<Path>, string>
    return { ...raw, params, query: query.value, body: body.value }
  }
}

/** A route for callers with a credential. */
export function guardedRoute<const Path extends string, Query = unknown, Body = unknown>(spec: GuardedSpec<Path, Query, Body>): Route {
  const { handler, check, ...described } = spec
  const read = reader(spec)
  return {
    ...described,
    async run(raw) {
      if (raw.identity === null) throw new ApiError('unauthorized', 'This needs a credential.')
      return handler({ ...(await read(raw)), ...raw.identity })
    },
  }
}
/** A route without a caller. */
export function openRoute<const Path extends string, Query = unknown, Body = unknown>(spec: OpenSpec<Path, Query, Body>): Route {
  const { handler, parse, ...described } = spec
  const read = reader(spec)
  return { ...described, scope: null, run: async (raw) => handler(await read(raw)) }
}
